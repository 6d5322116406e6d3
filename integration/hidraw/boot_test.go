package main

import (
	"io"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	const passes = "=== RUN   TestA\n--- PASS: TestA (1.00s)\n=== RUN   TestB\n--- PASS: TestB (0.10s)\nPASS\n"
	tests := []struct {
		name, console string
		want          string // part of the error; "" is none
	}{
		{"all pass", passes + "guest: exit status 0\n", ""},
		{"as a serial port has it", strings.ReplaceAll(passes+"guest: exit status 0\n", "\n", "\r\n"), ""},
		{"one fails", strings.Replace(passes, "PASS: TestB", "FAIL: TestB", 1) + "guest: exit status 1\n", "TestB did not pass"},
		{"one fails, and the status hides it", strings.Replace(passes, "PASS: TestB", "FAIL: TestB", 1) + "guest: exit status 0\n", "TestB did not pass"},
		{"all pass, and the program fails", passes + "guest: exit status 2\n", "exit status is 2"},
		{"one is skipped", strings.Replace(passes, "PASS: TestB", "SKIP: TestB", 1) + "guest: exit status 0\n", "TestB did not pass"},
		{"one is missing", "--- PASS: TestA (1.00s)\nguest: exit status 0\n", "TestB did not pass"},
		{"a subtest's line is not its test's", "    --- PASS: TestB (0.1s)\n--- PASS: TestA (1.00s)\nguest: exit status 0\n", "TestB did not pass"},
		{"another test of a longer name", strings.Replace(passes, "PASS: TestB", "PASS: TestBoth", 1) + "guest: exit status 0\n", "TestB did not pass"},
		{"panic before the end", passes, "without telling"},
		{"nothing", "", "without telling"},
		{"cut off", passes + "guest: exit status ", "without telling"},
		{"a line without end", strings.Repeat("x", 2<<20), "too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := judge(strings.NewReader(tt.console), io.Discard, []string{"TestA", "TestB"})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
