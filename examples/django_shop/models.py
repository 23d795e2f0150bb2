"""What the shop sells: the same quarter of a million products every time they are made."""

from django.db import connection, models, transaction

PRODUCTS = 250_000
NOUNS = ("carpet", "chair", "curtain", "desk", "lamp", "mirror", "shelf", "sofa")
WORDS = ("ash", "beech", "birch", "brass", "cork", "cotton", "glass", "linen", "oak", "pine", "steel", "wool")

_FILL = """
WITH RECURSIVE item(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM item WHERE n < %s - 1)
INSERT INTO django_shop_product (id, name, maker, cents, stock)
SELECT n + 1,
       json_extract(%s, '$[' || (n * 7919 %% 12) || ']') || ' ' || json_extract(%s, '$[' || (n * 104729 %% 8) || ']')
       || ' ' || (n + 1),
       n * 1299709 %% 40, n * 15485863 %% 99991 + 100, n * 6700417 %% 50
FROM item
"""


class Product(models.Model):
    name = models.CharField(max_length=60)
    maker = models.IntegerField()
    cents = models.IntegerField()
    stock = models.IntegerField()

    objects: models.Manager["Product"] = models.Manager()

    class Meta:
        app_label = "django_shop"

    def __str__(self) -> str:
        return self.name


def make_products() -> None:
    """Make the table and its rows unless they are there."""
    if Product._meta.db_table in connection.introspection.table_names():
        return

    def array(words: tuple[str, ...]) -> str:
        return "[" + ",".join(f'"{word}"' for word in words) + "]"

    with connection.schema_editor() as editor, transaction.atomic():
        editor.create_model(Product)
        with connection.cursor() as cursor:
            cursor.execute(_FILL, [PRODUCTS, array(WORDS), array(NOUNS)])
