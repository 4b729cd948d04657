package scenario

import (
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"offpath/cmd/lab/internal/report"
	"offpath/cmd/lab/internal/sensor"
)

func TestAVerdictIsGoneWhenItsClientHasNoneAnyMore(t *testing.T) {
	one, other := netip.MustParsePrefix("198.19.1.1/32"), netip.MustParsePrefix("198.19.1.2/32")
	verdict := func(id string, client netip.Prefix) sensor.Verdict { return sensor.Verdict{ID: id, Client: client} }
	for _, c := range []struct {
		name string
		left []sensor.Verdict
		gone bool
	}{
		{"it is still there", []sensor.Verdict{verdict("a", one)}, false},
		{"nothing is left", nil, true},
		{"another of its client is left", []sensor.Verdict{verdict("b", one)}, false},
		{"one of another client is left", []sensor.Verdict{verdict("b", other)}, true},
		{"one about no client is left", []sensor.Verdict{verdict("b", netip.Prefix{})}, true},
		{"an operator's is left", []sensor.Verdict{{ID: "b", Client: one, Operator: true}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newObserver(&stage{time: report.NewTimeline(io.Discard)})
			o.see(append([]sensor.Verdict{verdict("a", one)}, c.left...))
			for _, known := range o.verdicts {
				known.inForce = time.Unix(1, 0)
			}
			o.see(c.left)
			assert.Equal(t, c.gone, o.verdicts["a"].gone)
		})
	}

	t.Run("no load balancer had it", func(t *testing.T) {
		o := newObserver(&stage{time: report.NewTimeline(io.Discard)})
		o.see([]sensor.Verdict{verdict("a", one)})
		o.see(nil)
		assert.False(t, o.verdicts["a"].gone, "nothing is let through that was refused before")
	})
	t.Run("another of its client is left that no load balancer has", func(t *testing.T) {
		o := newObserver(&stage{time: report.NewTimeline(io.Discard)})
		o.see([]sensor.Verdict{verdict("a", one), verdict("b", one)})
		o.verdicts["a"].inForce = time.Unix(1, 0)
		o.see([]sensor.Verdict{verdict("b", one)})
		assert.True(t, o.verdicts["a"].gone)
	})
	t.Run("one about no client stands for itself", func(t *testing.T) {
		o := newObserver(&stage{time: report.NewTimeline(io.Discard)})
		o.see([]sensor.Verdict{verdict("a", netip.Prefix{}), verdict("b", netip.Prefix{})})
		o.verdicts["a"].inForce = time.Unix(1, 0)
		o.see([]sensor.Verdict{verdict("b", netip.Prefix{})})
		assert.True(t, o.verdicts["a"].gone)
	})
}
