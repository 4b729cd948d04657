package engine

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/detect"
)

func TestWhatAnOrderWouldHitIsKnownFromThePast(t *testing.T) {
	b := newBench(t)
	network := func(text string) detect.Subject { return detect.Subject{Client: netip.MustParsePrefix(text)} }
	for i := range 1000 {
		client := fmt.Sprintf("90.%d.%d.7", i>>8, i&255)
		if i%5 == 0 { // a fifth of the customers has one provider
			client = fmt.Sprintf("81.7.%d.%d", i>>8, i&255)
		}
		tx := try{client: client, account: fmt.Sprint("customer", i), password: "own", right: true}.transaction(i)
		tx.Fingerprint = app
		tx.Start, tx.End = at(0)+int64(i)*3e9, at(0)+int64(i)*3e9+20e6
		b.Observe(tx)
	}
	for _, tt := range []struct {
		name    string
		subject detect.Subject
		least   float64
		most    float64
		unknown bool
	}{
		{"a network of a fifth of the customers", network("81.7.0.0/16"), 180_000, 260_000, false},
		{"a neighbourhood of it", network("81.7.0.0/24"), 40_000, 80_000, false},
		{"a network of nobody", network("44.0.0.0/24"), 0, 1, false},
		{"one customer's address", network("90.0.1.7/32"), 0, 1500, false},
		{"everybody's program", detect.Subject{Fingerprint: app}, 900_000, 1e6, false},
		{"everybody's program, from where a fifth is", detect.Subject{Fingerprint: app, Client: netip.MustParsePrefix("81.7.0.0/16")}, 180_000, 260_000, false},
		{"a program of nobody", detect.Subject{Fingerprint: foreign}, 0, 1000, false},
		{"a session", detect.Subject{Session: "00000000000000cc"}, 0, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			harm, known := b.Harm(tt.subject)
			assert.Equal(t, !tt.unknown, known)
			assert.GreaterOrEqual(t, harm, tt.least)
			assert.LessOrEqual(t, harm, tt.most)
		})
	}
}
