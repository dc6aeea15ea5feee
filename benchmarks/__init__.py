"""Measurements that are made in a checkout; `pip install` leaves them out."""
