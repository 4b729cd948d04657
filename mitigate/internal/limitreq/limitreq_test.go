package limitreq_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate/internal/limitreq"
)

func TestRatesHaveAFormInNGINXOrNone(t *testing.T) {
	for _, tt := range []struct {
		name     string
		requests int
		per      time.Duration
		want     string // name rate burst; "" for none
	}{
		{"whole requests a second", 10, time.Second, "10per1 10r/s 9"},
		{"whole requests a second over a longer period", 120, time.Minute, "120per60 2r/s 119"},
		{"less than one a second", 10, time.Minute, "10per60 10r/m 9"},
		{"one a minute is the least", 60, time.Hour, "60per3600 1r/m 59"},
		{"what is no whole number is rounded down", 10, 7 * time.Second, "10per7 85r/m 9"},
		{"less than one a minute has none", 1, 61 * time.Second, ""},
		{"no requests", 0, time.Second, ""},
		{"too many for a burst", 1 << 15, time.Second, ""},
		{"parts of a second", 10, 1500 * time.Millisecond, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tier, ok := limitreq.Of(detect.Rate{Requests: tt.requests, Per: int64(tt.per)})
			require.Equal(t, tt.want != "", ok)
			if ok {
				assert.Equal(t, strings.Fields(tt.want), []string{tier.Name(), tier.Rate(), strconv.Itoa(tier.Burst())})
				assert.Equal(t, tier.Burst()+1, tt.requests)
			}
		})
	}
}
