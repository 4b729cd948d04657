package corpora

import (
	"slices"
	"strings"
)

// judgeJA4: where the reference implementations agree on a JA4, the connection's
// ClientHello must have it. Where only HTTP is fingerprinted, which is not ours
// to use, the requests are compared with tshark's.
func judgeJA4(c *Case, r *Reading) (d Differences, err error) {
	var expected struct {
		Fingerprints []struct {
			Src    string
			Sport  int
			Kind   string
			Values []string
			Agree  bool
		}
	}
	if err := c.expect(&expected); err != nil {
		return nil, err
	}
	for _, f := range expected.Fingerprints {
		if f.Kind != "ja4" || !f.Agree {
			continue
		}
		var got []string
		for _, t := range r.Hellos {
			if address(t.Source.IP) == address(f.Src) && t.Source.Port == f.Sport {
				got = append(got, t.TLS.Client.JA4)
			}
		}
		for _, want := range f.Values {
			if !slices.Contains(got, want) {
				d.add("%s:%d: JA4 is %s instead of %s", f.Src, f.Sport, strings.Join(got, " "), want)
			}
		}
	}
	requests, err := c.Requests()
	if err != nil {
		return nil, err
	}
	return append(d, CompareRequests(requests, r.Transactions)...), nil
}
