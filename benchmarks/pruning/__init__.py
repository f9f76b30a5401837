"""How early may a search stop its candidates?"""
