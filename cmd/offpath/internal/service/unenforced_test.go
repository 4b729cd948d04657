package service

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/detect"
	"offpath/mitigate/controller"
)

func TestAVerdictWithoutEffectRaisesAnAlarmOnce(t *testing.T) {
	const s = int64(1e9)
	v := detect.Verdict{ID: "0000000100000002", Subject: detect.Subject{Client: netip.MustParsePrefix("192.0.2.7/32")}}
	in := controller.Enforcing{Wanted: true, By: []string{"lb1"}}
	type sight struct {
		at       int64
		answered uint64
		state    controller.Enforcing
	}
	for _, tt := range []struct {
		name   string
		sights []sight
		alarm  string
	}{
		{"answered on and on", []sight{{1, 1, in}, {5, 20, in}, {12, 22, in}, {13, 23, in}, {40, 60, in}}, "requests of 192.0.2.7 are still answered, 3 within 12 s. It is confirmed by lb1: see that the rules"},
		{"a few requests that were under way", []sight{{1, 1, in}, {5, 20, in}, {30, 22, in}, {90, 22, in}}, ""},
		{"off, and on again", []sight{{1, 1, in}, {20, 2, controller.Enforcing{}}, {40, 90, controller.Enforcing{}}, {41, 91, in}, {50, 95, in}}, ""},
		{"no target that should refuse", []sight{{1, 1, controller.Enforcing{}}, {50, 90, controller.Enforcing{}}}, ""},
		{"a load balancer that is down", []sight{{1, 1, in}, {20, 9, controller.Enforcing{Wanted: true, Not: []string{"lb1", "lb2"}}}}, "It is not confirmed by lb1 and lb2"},
		{"one of two", []sight{{1, 1, in}, {20, 9, controller.Enforcing{Wanted: true, By: []string{"lb1"}, Not: []string{"lb2"}}}}, "It is confirmed by lb1, not by lb2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w wire
			var said []detect.Finding
			for _, at := range tt.sights {
				e := detect.Enforcement{Time: at.at * s, Answered: at.answered, State: detect.WireAnswered}
				if f, news := w.look(&v, &e, func(string) controller.Enforcing { return at.state }); news {
					said = append(said, f)
				}
			}
			if tt.alarm == "" {
				assert.Empty(t, said)
				return
			}
			if assert.Len(t, said, 1) {
				assert.Contains(t, said[0].Message, tt.alarm)
				assert.Equal(t, v.Subject, said[0].Subject)
				assert.Equal(t, detect.RuleUnenforced, said[0].Rule)
			}
		})
	}
}
