"""Do readouts find the better network, and the better checkpoint, beyond classification?"""
