package snapshot

import (
	"cmp"

	"offpath/detect"
)

// Subject codes a subject.
func (c *Codec) Subject(s *detect.Subject) {
	c.Prefix(&s.Client)
	String(c, &s.Fingerprint, &s.UserAgent, &s.JA4, &s.Endpoint, &s.Domain, &s.Session, &s.UserHash)
}

// CompareSubjects orders subjects.
func CompareSubjects(a, b detect.Subject) int {
	return cmp.Or(
		a.Client.Addr().Compare(b.Client.Addr()), cmp.Compare(a.Client.Bits(), b.Client.Bits()),
		cmp.Compare(a.Fingerprint, b.Fingerprint), cmp.Compare(a.UserAgent, b.UserAgent), cmp.Compare(a.JA4, b.JA4),
		cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Session, b.Session), cmp.Compare(a.UserHash, b.UserHash),
	)
}

// Verdict codes a verdict.
func (c *Codec) Verdict(v *detect.Verdict) {
	Int(c, &v.Time, &v.Expires, &v.Rate.Per)
	String(c, &v.ID, &v.Policy, &v.Message)
	String(c, &v.Action)
	String(c, &v.Mode)
	c.Subject(&v.Subject)
	Int(c, &v.Rate.Requests)
	c.texts(&v.Findings)
	c.Float64(&v.Expected.AttackRequestsPerMinute, &v.Expected.LegitimateRequestsPerMillion)
}

// Finding codes a finding that is no campaign's.
func (c *Codec) Finding(f *detect.Finding) {
	Int(c, &f.Time, &f.WindowStart, &f.WindowEnd)
	String(c, &f.ID, &f.Kind, &f.Rule, &f.Technique, &f.Message)
	Int(c, &f.Severity)
	c.Subject(&f.Subject)
	e := &f.Evidence
	c.Float64(&e.Statistic, &e.Baseline, &e.Threshold)
	List(c, &e.Terms, Many, func(t *detect.Term) {
		String(c, &t.Name)
		c.Float64(&t.Value)
	})
	c.texts(&e.Events)
}

func (c *Codec) texts(list *[]string) {
	List(c, list, Many, func(s *string) { String(c, s) })
}
