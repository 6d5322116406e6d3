//go:build race

package integration

// raceFlags makes the program under test carry the race detector when its tests do.
var raceFlags = []string{"-race"}
