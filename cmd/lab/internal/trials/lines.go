package trials

import (
	"fmt"

	"offpath/cmd/lab/internal/judge"
	"offpath/cmd/lab/internal/traffic"
)

// line is what a detector has to reach on a scenario.
type line struct {
	name  string
	unit  string
	value func(*judge.Result) float64 // below 0: not reached at all
	most  bool                        // at most limit, else at least
	limit float64
	some  bool // seeds where there is no such thing do not count
}

func (l *line) met(v float64) bool {
	if v < 0 {
		return false
	}
	if l.most {
		return v <= l.limit
	}
	return v >= l.limit
}

// worse reports whether a is further from the line than b.
func (l *line) worse(a, b float64) bool {
	switch {
	case a < 0 || b < 0:
		return a < 0 && b >= 0
	case l.most:
		return a > b
	}
	return a < b
}

func (l *line) String() string {
	sign := "≥"
	if l.most {
		sign = "≤"
	}
	return fmt.Sprintf("%s %s %g %s", l.name, sign, l.limit, l.unit)
}

func verdictWithin(seconds float64) line {
	return line{"first effective verdict", "s", func(r *judge.Result) float64 { return r.VerdictSeconds }, true, seconds, false}
}
func detectWithin(seconds float64) line {
	return line{"campaign or finding", "s", func(r *judge.Result) float64 { return r.DetectSeconds }, true, seconds, false}
}
func triesWithin(n float64) line {
	return line{"campaign or finding", "tries", func(r *judge.Result) float64 { return float64(r.DetectTries) }, true, n, false}
}
func enforced(percent float64) line {
	return line{"enforcement recall", "%", func(r *judge.Result) float64 { return 100 * r.Enforced }, false, percent, false}
}
func enforcedAfter(percent float64) line {
	return line{"enforcement recall after the first effective verdict", "%", func(r *judge.Result) float64 { return 100 * r.EnforcedAfter }, false, percent, false}
}
func named(percent float64) line {
	return line{"taken-over accounts named", "%", func(r *judge.Result) float64 { return 100 * r.HitsNamed }, false, percent, true}
}
func loginsHit(perMillion float64) line {
	return line{"legitimate logins hit", "per million", func(r *judge.Result) float64 { return r.LoginsHit }, true, perMillion, false}
}
func nobodyHit() line {
	return line{"legitimate requests hit", "in all", func(r *judge.Result) float64 { return float64(r.LegitHit) }, true, 0, false}
}
func campaigns(n float64) line {
	return line{"campaigns that are none", "in all", func(r *judge.Result) float64 { return float64(r.False) }, true, n, false}
}
func outage() line {
	return line{"reported as an outage", "findings", func(r *judge.Result) float64 { return float64(r.Outages) }, false, 1, false}
}

func outcomes(percent float64) line {
	return line{"outcomes told as they were", "%", func(r *judge.Result) float64 { return 100 * r.OutcomeTold * r.OutcomeRight }, false, percent, false}
}
func settled(style traffic.Style) line {
	return line{"outcomes at an endpoint of the style “" + style.String() + "” after its first 200 logins", "%", func(r *judge.Result) float64 { return 100 * r.Settled(style) }, false, 99.5, true}
}
func memory(mb float64) line {
	return line{"memory for a million addresses, accounts and sessions", "MB", func(r *judge.Result) float64 { return r.MBPerMillion }, true, mb, false}
}

// lines are what is to be reached, by scenario.
var lines = map[string][]line{
	"B1":        {verdictWithin(10), enforced(98), loginsHit(10), settled(traffic.StyleAlways), settled(traffic.StyleOFX)},
	"B1-cold":   {verdictWithin(60), loginsHit(10)},
	"B2-50":     {verdictWithin(300), enforcedAfter(85), loginsHit(200), settled(traffic.StyleAlways), settled(traffic.StyleOFX)},
	"B2-5":      {verdictWithin(1800), enforcedAfter(85), loginsHit(200)},
	"B3":        {detectWithin(1800), named(85), loginsHit(100)},
	"B4-A4":     {detectWithin(3600), loginsHit(100)},
	"B4-A5":     {loginsHit(100)},
	"B4-A6":     {loginsHit(100)},
	"B7":        {triesWithin(50), loginsHit(20)},
	"N1":        {loginsHit(10)},
	"N2":        {nobodyHit()},
	"N3":        {nobodyHit()},
	"N4":        {loginsHit(10)},
	"N5":        {loginsHit(10)},
	"N6":        {nobodyHit()},
	"N7":        {nobodyHit()},
	"N8":        {loginsHit(10), settled(traffic.StyleAlways), settled(traffic.StyleOFX)},
	"N9":        {loginsHit(10), campaigns(0), outage()},
	"B2-ramp":   {loginsHit(200)},
	"N1-attack": {loginsHit(200)},
	"N2-attack": {enforced(80), loginsHit(1000)},
	"N4-attack": {loginsHit(200)},
	"N9-attack": {loginsHit(200)},
	"M":         {memory(250)},
	"Q":         {campaigns(1), outcomes(99.5), settled(traffic.StyleAlways), settled(traffic.StyleOFX)},
	"Q-year":    {campaigns(4)},
}
