package judge

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/reassembly"
)

func TestATransferIsStoppedByAVerdictOrByAHoldThatCameInTime(t *testing.T) {
	for _, test := range []struct {
		name    string
		held    int64 // second; 0: never
		lifted  bool
		matched bool
		want    int
	}{
		{"nothing is said", 0, false, false, 0},
		{"a verdict in force matches", 0, false, true, 1},
		{"its account is held a second before", 19, false, false, 1},
		{"or less", 20, false, false, 0},
		{"held, and given free", 10, true, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMoney()
			var in, out reassembly.Transaction
			in.Auth.UserHash, in.Auth.SessionIssued = "victim", []string{"token"}
			out.Start, out.Auth.SessionPresented = 20*second, []string{"token"}
			m.add(&in, traffic.Truth{Attack: true, Login: true, Right: true}, false)
			v := detect.Verdict{Action: detect.ActionHold, Subject: detect.Subject{UserHash: "victim"}, Time: test.held * second}
			if test.held > 0 {
				m.verdict(&v)
				m.verdict(&detect.Verdict{Action: detect.ActionHold, Subject: v.Subject, Time: v.Time + 100*second}) // renewed
			}
			if test.lifted {
				m.verdict(&detect.Verdict{Action: detect.ActionLift, Subject: v.Subject, Time: v.Time + 1})
			}
			m.add(&out, traffic.Truth{Attack: true, Transfer: true}, test.matched)
			assert.Equal(t, 1, m.transfers)
			assert.Equal(t, test.want, m.stopped)
		})
	}
}
