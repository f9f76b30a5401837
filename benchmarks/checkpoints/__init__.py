"""Do readouts find the better checkpoint of one run?"""
