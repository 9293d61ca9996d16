"""Render portraits from CC0 assets: MakeHuman's body, wardrobe and skins, in procedural rooms."""
