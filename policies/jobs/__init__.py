"""What the console does by itself, in the process of `manage.py run_jobs`: a door to the verbs, like the others."""
