"""What we cost, beside the best that there is: `make bench`. Results are in RESULTS.md."""
