from tests.db.releases import freeze

print(freeze())
