package main

// systemFleet is the part of the fleet that only this system has.
func systemFleet() map[string]func() { return nil }
