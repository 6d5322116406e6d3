package hardware

import "testing"

func ctap(code int) *fault { return &fault{Kind: faultCTAP, Code: code} }

// TestJudge has the answers of silent probes: to a credential and, when that one is unclear, to one that nobody made.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name            string
		answer, control *fault
		want            verdict
		fault           bool
	}{
		{"an assertion", nil, nil, mine, false},
		{"no credentials", ctap(codeNoCredentials), nil, notMine, false},
		{"invalid credential", ctap(codeInvalidCredential), nil, notMine, false},
		{"id of another size", ctap(codeInvalidLength), nil, notMine, false},
		{"other error", ctap(codeOther), nil, notMine, false},
		{"unknown error", ctap(0xf2), nil, notMine, false},
		{"touch wanted, of ours only", ctap(codeUPRequired), ctap(codeNoCredentials), mine, false},
		{"PIN wanted, of ours only", ctap(codePINRequired), ctap(codeNoCredentials), mine, false},
		{"denied, ours only", ctap(codeDenied), ctap(codeInvalidCredential), mine, false},
		{"not allowed, ours only", ctap(codeNotAllowed), ctap(codeNoCredentials), mine, false},
		{"touch wanted, whatever the credential", ctap(codeUPRequired), ctap(codeUPRequired), unclear, false},
		{"option refused, whatever the credential", ctap(codeUnsupportedOption), ctap(codeUnsupportedOption), unclear, false},
		{"invalid option", ctap(codeInvalidOption), ctap(codeInvalidOption), unclear, false},
		{"always verifies", ctap(codePINRequired), ctap(codePINRequired), unclear, false},
		{"parameter missing", ctap(codeMissingParameter), ctap(codeMissingParameter), unclear, false},
		{"PIN wanted in vain", ctap(codePINAuthInvalid), ctap(codePINAuthInvalid), unclear, false},
		{"PIN blocked", ctap(codePINBlocked), ctap(codePINBlocked), unclear, false},
		{"two unclear answers", ctap(codeUPRequired), ctap(codePINRequired), unclear, false},
		{"a token that signs anything", ctap(codeUPRequired), nil, unclear, false},
		{"blinked until it was cancelled", ctap(codeKeepaliveCancel), ctap(codeKeepaliveCancel), unclear, false},
		{"busy", ctap(codeChannelBusy), nil, notMine, true},
		{"timeout", ctap(codeTimeout), nil, notMine, true},
		{"unplugged", ctap(codeRX), nil, notMine, true},
		{"garbage", ctap(codeRXInvalidCBOR), nil, notMine, true},
		{"not opened", &fault{Kind: faultAbsent}, nil, notMine, true},
	} {
		got, f := judge(test.answer)
		if f == nil && got == unclear {
			got = compare(test.answer, test.control)
		}
		if got != test.want || (f != nil) != test.fault {
			t.Errorf("%s: got %d, fault %v, want %d", test.name, got, f, test.want)
		}
	}
}
