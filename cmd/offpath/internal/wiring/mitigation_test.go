package wiring

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/offpath/internal/config"
	"offpath/detect/policy"
	"offpath/mitigate/controller"
)

func TestCountersAreReadSeveralTimesInTheShortestVerdict(t *testing.T) {
	for _, test := range []struct {
		name     string
		ttl      time.Duration
		policies []policy.Statement
		want     time.Duration
	}{
		{"of ten minutes: as usual", 10 * time.Minute, nil, controller.DefaultHitsInterval},
		{"of eight seconds: every second", 8 * time.Second, nil, time.Second},
		{"of a policy with a short one", 10 * time.Minute, []policy.Statement{{Name: "credential-stuffing", TTL: 4 * time.Second}}, 500 * time.Millisecond},
		{"of a second, the shortest there is", time.Second, nil, 125 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := config.Default()
			c.Detect.VerdictTTL, c.Detect.Policies = test.ttl, test.policies
			made, err := Controller(c)
			require.NoError(t, err)
			assert.Equal(t, test.want, made.HitsInterval)
		})
	}
}
