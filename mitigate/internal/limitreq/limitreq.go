// Package limitreq turns rates into what NGINX's module limit_req is configured with: N
// requests at once, then N evenly over each period. Since that is a leaky bucket, up to
// 2N-1 pass in the first period.
//
// Pure functions.
package limitreq

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"offpath/detect"
)

// Tier is a rate as NGINX is configured with it.
type Tier struct {
	limit detect.Rate
}

// Max is how many rates a configuration has at most: each takes a zone of 10 MB and a look
// at each request.
const Max = 16

// Of says whether a rate has a form in NGINX's configuration.
func Of(rate detect.Rate) (Tier, bool) {
	t := Tier{rate}
	return t, rate.Requests >= 1 && rate.Requests <= math.MaxInt16 && rate.Per >= int64(time.Second) && rate.Per%int64(time.Second) == 0 &&
		rate.Per <= int64(24*time.Hour) && t.perMinute() >= 1
}

// Find is the tier of a rate; reason says why there is none.
func Find(tiers []Tier, rate detect.Rate) (t Tier, reason string) {
	i := slices.Index(tiers, Tier{rate})
	if i < 0 {
		return t, fmt.Sprintf("%d requests per %s is none of the rates that it is configured with", rate.Requests, time.Duration(rate.Per))
	}
	return tiers[i], ""
}

// Seconds is the period.
func (t Tier) Seconds() int64 { return t.limit.Per / int64(time.Second) }

// Burst is how many requests may come at once beyond the first.
func (t Tier) Burst() int { return t.limit.Requests - 1 }

func (t Tier) perMinute() int64 { return int64(t.limit.Requests) * 60 / t.Seconds() }

// Rate is what refills it, in NGINX's notation; the next lower one that there is.
func (t Tier) Rate() string {
	if perSecond := int64(t.limit.Requests) / t.Seconds(); perSecond*t.Seconds() == int64(t.limit.Requests) {
		return strconv.FormatInt(perSecond, 10) + "r/s"
	}
	return strconv.FormatInt(t.perMinute(), 10) + "r/m"
}

// Name is how records name it, and the end of its zone's name.
func (t Tier) Name() string { return fmt.Sprintf("%dper%d", t.limit.Requests, t.Seconds()) }

// All are the rates that can be configured, each once, in order.
func All(rates []detect.Rate) ([]Tier, error) {
	var tiers []Tier
	for _, rate := range rates {
		if t, ok := Of(rate); ok {
			tiers = append(tiers, t)
		}
	}
	slices.SortFunc(tiers, func(a, b Tier) int {
		return cmp.Or(cmp.Compare(a.limit.Per, b.limit.Per), cmp.Compare(a.limit.Requests, b.limit.Requests))
	})
	tiers = slices.Compact(tiers)
	if len(tiers) > Max {
		return nil, fmt.Errorf("%d different rates are more than %d", len(tiers), Max)
	}
	return tiers, nil
}
