package corpora

import (
	"slices"
	"strings"
)

// judgeDeepflow: what Deepflow's parser said of single packets must be among
// what was read. What it didn't see proves nothing.
func judgeDeepflow(c *Case, r *Reading) (d Differences, err error) {
	var expected struct {
		Messages []struct {
			Type               string `json:"msg_type"`
			Method, Path, Host string
			Version            string
			Status             int
		}
	}
	if err := c.expect(&expected); err != nil {
		return nil, err
	}
	rest := slices.Clone(r.Transactions)
	statuses := map[int]int{}
	for _, t := range r.Transactions {
		statuses[t.HTTP.Response.Status]++
	}
	for _, m := range expected.Messages {
		switch {
		case m.Type == "Request" && m.Path != "":
			i := slices.IndexFunc(rest, func(t *Transaction) bool {
				host, _, _ := strings.Cut(m.Host, ":")
				return t.URL.Original == m.Path && (m.Host == "" || strings.EqualFold(t.URL.Domain, host)) && t.HTTP.Version == m.Version &&
					(m.Method == "RequestHeader" || strings.EqualFold(t.HTTP.Request.Method, m.Method))
			})
			if i < 0 {
				d.add("request missing: %s %s%s", m.Method, m.Host, m.Path)
				continue
			}
			rest = slices.Delete(rest, i, i+1)
		case m.Status != 0:
			if statuses[m.Status]--; statuses[m.Status] < 0 {
				d.add("response missing: %d", m.Status)
			}
		}
	}
	return d, nil
}
