"""Do readouts find the better architecture?"""
