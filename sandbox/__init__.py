"""Wire-level simulators of the outside world, for demo, training and tests.

It knows the product by wire only and needs neither its database nor its settings: `python -m sandbox --port 8100`.
"""
