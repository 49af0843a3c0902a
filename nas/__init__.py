"""The search: what to look for, who proposes, who climbs, and the loop that ties them together."""
