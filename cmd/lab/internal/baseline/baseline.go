// Package baseline re-builds how others detect credential stuffing, for comparison
// on the same traffic: a leaky bucket per address as CrowdSec's http-generic-bf
// has it, the default thresholds of F5's brute force protection, and a plain
// sequential test per address (Jung et al., S&P 2004).
//
// They are given what their operators would have to configure, and better: the
// truth about which requests are logins and whether the password was right. An
// answer of 500 or above is no failure to any of them.
//
// Memory is not bounded: a table entry stays for every address, account or login
// that has failed. Each belongs to one goroutine.
package baseline

import (
	"net/netip"
	"time"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/reassembly"
)

// failure reports whether a request is a login that failed.
func failure(tx *reassembly.Transaction, truth traffic.Truth) bool {
	return truth.Login && !truth.Right && tx.Response.Status < 500 && tx.RefusedBy == ""
}

func address(tx *reassembly.Transaction) detect.Subject {
	client := tx.Client.Unmap().WithZone("")
	return detect.Subject{Client: netip.PrefixFrom(client, client.BitLen())}
}

// decisions are the verdicts that a detector has made.
type decisions struct {
	sink  engine.Sink
	rule  string
	until map[detect.Subject]int64
}

func newDecisions(sink engine.Sink, rule string) decisions {
	return decisions{sink, rule, make(map[detect.Subject]int64)}
}

// decide makes a finding and a verdict about a subject that is under none.
func (d *decisions) decide(tx *reassembly.Transaction, s detect.Subject, a detect.Action, length time.Duration) {
	now := tx.End
	if now < d.until[s] {
		return
	}
	d.until[s] = now + length.Nanoseconds()
	id := detect.NewID(d.rule, s, now)
	d.sink.Finding(&detect.Finding{
		Time: now, ID: id, Kind: "alert", Rule: d.rule, Subject: s, WindowStart: now, WindowEnd: now,
		Evidence: detect.Evidence{Events: []string{tx.ID}},
	})
	d.sink.Verdict(&detect.Verdict{
		Time: now, ID: detect.NewID("verdict:"+d.rule, s, now), Action: a, Subject: s, Mode: detect.ModeMonitor,
		Expires: now + length.Nanoseconds(), Findings: []string{id}, Message: d.rule,
	})
}
