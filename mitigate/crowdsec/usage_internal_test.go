package crowdsec

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
)

func FuzzUsage(f *testing.F) {
	f.Add([]byte(`{"remediation_components":[{"metrics":[{"items":[{"name":"dropped","unit":"packet","value":1e300,"labels":{"origin":"offpath"}}]}]}]}`))
	f.Add([]byte(`{"remediation_components":[{"metrics":[{"items":[{"name":"dropped","unit":"request","value":-1,"labels":{"origin":"offpath"}}]}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		refused, ok := parseUsage(body)
		assert.LessOrEqual(t, refused, uint64(maxRefused))
		assert.True(t, ok || refused == 0)
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("ip=192.0.2.1&scopes=ip,range")
	f.Add("scope=Range&value=2001:db8::/32&contains=false")
	f.Fuzz(func(t *testing.T, text string) {
		q, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		filterOf(q)
		if about, _, all, problem := aboutOf(q); !all && problem == "" {
			assert.True(t, about.IsValid() && about == about.Masked())
		}
	})
}
