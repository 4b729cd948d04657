package crowdsec

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"offpath/mitigate/internal/pull"
)

const (
	// maxUsage bounds a report, octets.
	maxUsage = 1 << 20
	// maxRefused bounds what one report may add: a bouncer's word is no proof.
	maxRefused = 1 << 40
)

// usage takes what a bouncer counted since its last report. It says by which origin, not by
// which decision.
func (t *Target) usage(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUsage))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		say(w, r, http.StatusRequestEntityTooLarge, "the report is too long")
		return
	}
	refused, ok := parseUsage(body)
	if err != nil || !ok {
		say(w, r, http.StatusBadRequest, "the report can't be read")
		return
	}
	who := pull.Asking(r)
	t.Refused(&who, refused)
	say(w, r, http.StatusCreated, "usage metrics taken")
}

// parseUsage reads how many requests or packets were refused by our decisions.
func parseUsage(body []byte) (refused uint64, ok bool) {
	var report struct {
		Components []struct {
			Metrics []struct {
				Items []struct {
					Name   string            `json:"name"`
					Unit   string            `json:"unit"`
					Value  float64           `json:"value"`
					Labels map[string]string `json:"labels"`
				} `json:"items"`
			} `json:"metrics"`
		} `json:"remediation_components"`
	}
	if json.Unmarshal(body, &report) != nil {
		return 0, false
	}
	for _, c := range report.Components {
		for _, m := range c.Metrics {
			for _, item := range m.Items {
				if item.Name == "dropped" && (item.Unit == "request" || item.Unit == "packet") && item.Labels["origin"] == origin && item.Value > 0 {
					refused = min(maxRefused, refused+uint64(min(item.Value, maxRefused)))
				}
			}
		}
	}
	return refused, true
}
