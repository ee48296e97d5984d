"""One folder a method. Recipes use the core and do not import each other."""
