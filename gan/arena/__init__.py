"""The organiser's side: runs strangers' models without trusting them."""
