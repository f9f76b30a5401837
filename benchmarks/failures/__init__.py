"""Which readouts are fooled, and by what?"""
