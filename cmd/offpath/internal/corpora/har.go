package corpora

import (
	"net/url"
	"slices"
	"strings"
)

// harEntry is a transaction of a HAR file.
type harEntry struct {
	Method, URL     string
	Status          int
	RequestHeaders  [][2]string `json:"req_headers"`
	ResponseHeaders [][2]string `json:"resp_headers"`
}

// judgeHAR compares method, path and query, status and header lists. The files
// don't name the connection, so an entry is that of our first line that is like
// it in the first three.
func judgeHAR(c *Case, r *Reading) (d Differences, err error) {
	var expected struct{ Entries []harEntry }
	if err := c.expect(&expected); err != nil {
		return nil, err
	}
	rest := slices.Clone(r.Transactions)
	for _, e := range expected.Entries {
		i := slices.IndexFunc(rest, e.is)
		if i < 0 {
			d.add("entry missing: %s %s %d", e.Method, e.URL, e.Status)
			continue
		}
		t := rest[i]
		rest = slices.Delete(rest, i, i+1)
		d.harHeaders(c, t, "request", e.RequestHeaders, t.Offpath.Request.Fields)
		if e.Status != 0 {
			d.harHeaders(c, t, "response", e.ResponseHeaders, t.Offpath.Response.Fields)
		}
	}
	for _, t := range rest {
		d.add("request unexpected: %s", t)
	}
	return d, nil
}

func (e *harEntry) is(t *Transaction) bool {
	if e.Method != t.HTTP.Request.Method || e.Status != 0 && e.Status != t.HTTP.Response.Status {
		return false
	}
	u, err := url.Parse(e.URL)
	if err != nil {
		return strings.HasSuffix(e.URL, t.URL.Original)
	}
	target := t.URL.Original
	if !strings.HasPrefix(target, "/") && e.Method != "CONNECT" {
		return target == e.URL || target == u.RequestURI()
	}
	return strings.HasSuffix(e.URL, target) && (u.Host == "" || t.URL.Domain == "" || strings.EqualFold(u.Hostname(), t.URL.Domain))
}

// harHeaders compares header fields. Both programs join fields of one name, the
// older one in no order and in lower case.
func (d *Differences) harHeaders(c *Case, t *Transaction, what string, want, got [][2]string) {
	list := func(fields [][2]string) []string {
		var names []string
		values := map[string]string{}
		for _, f := range fields {
			name := f[0]
			if c.Corpus == "pcap2har-andrewf" {
				name = strings.ToLower(name)
			}
			value := strings.ReplaceAll(f[1], " ", "")
			if _, ok := values[name]; ok {
				value = values[name] + "," + value
			} else {
				names = append(names, name)
			}
			values[name] = value
		}
		if c.Corpus == "pcap2har-andrewf" {
			slices.Sort(names)
		}
		for i, name := range names {
			names[i] = name + ": " + values[name]
		}
		return names
	}
	w, g := list(want), list(got)
	if !slices.Equal(w, g) {
		d.add("%s: %s headers differ", t, what)
		d.sameMultiset("header", w, g)
	}
}
