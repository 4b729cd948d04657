// Package jsonl writes findings and verdicts as the contract's JSON Lines, and
// reads them back: [AppendVerdict] and [Reader] are inverses, and so are
// [AppendFinding] and [ParseFinding].
//
// A line is one object of nested objects. Keys stand in one fixed order, that
// of their first appearance in the contract, grouped by object:
//
//	@timestamp
//	event    id kind severity
//	rule     name
//	threat   technique{name}
//	offpath  action subject rate mode expires finding policy expected
//	         (verdicts), subject window evidence campaign (findings)
//	message
//
// with subject{client{ip} offpath{fingerprint endpoint session}
// user_agent{original} tls{client{ja4}} url{domain} user{hash}},
// evidence{statistic baseline threshold terms[{name value}] events[]} and
// expected{attack_requests_per_minute legitimate_requests_per_million}.
//
// An absent key means unknown; 0 is written. client.ip is an address where the
// subject is one, else a network. Strings follow the escaping rule of
// reassembly/jsonl. Functions keep no state and allocate nothing but what the
// destination needs.
package jsonl

import (
	"math"
	"net/netip"
	"strconv"
	"time"

	"offpath/detect"
	"offpath/reassembly/jsonl"
)

// AppendVerdict appends v as one line, with its line feed.
func AppendVerdict(dst []byte, v *detect.Verdict) []byte {
	b := appendTime(append(dst, `{"@timestamp":`...), v.Time)
	b = str(append(b, `,"event":{`...), "id", v.ID)
	b = append(b, `},"offpath":{`...)
	b = str(b, "action", string(v.Action))
	b = appendSubject(b, &v.Subject)
	if v.Rate != (detect.Rate{}) {
		b = append(key(b, "rate"), `{"requests":`...)
		b = strconv.AppendInt(b, int64(v.Rate.Requests), 10)
		b = append(b, `,"per":"`...)
		b = strconv.AppendInt(b, v.Rate.Per/int64(time.Second), 10)
		b = append(b, `s"}`...)
	}
	b = str(b, "mode", string(v.Mode))
	b = appendTime(key(b, "expires"), v.Expires)
	b = list(b, "finding", v.Findings)
	b = str(b, "policy", v.Policy)
	b = append(key(b, "expected"), '{')
	b = number(b, "attack_requests_per_minute", v.Expected.AttackRequestsPerMinute)
	b = number(b, "legitimate_requests_per_million", v.Expected.LegitimateRequestsPerMillion)
	b = append(b, "}}"...)
	b = str(b, "message", v.Message)
	return append(b, "}\n"...)
}

// AppendFinding appends f as one line, with its line feed.
func AppendFinding(dst []byte, f *detect.Finding) []byte {
	b := appendTime(append(dst, `{"@timestamp":`...), f.Time)
	b = append(b, `,"event":{`...)
	b = str(b, "id", f.ID)
	b = str(b, "kind", f.Kind)
	b = integer(b, "severity", f.Severity)
	b = append(b, '}')
	b = str(append(b, `,"rule":{`...), "name", f.Rule)
	b = str(append(b, `},"threat":{"technique":{`...), "name", f.Technique)
	b = append(b, `}},"offpath":{`...)
	b = appendSubject(b, &f.Subject)
	b = append(key(b, "window"), `{"start":`...)
	b = appendTime(b, f.WindowStart)
	b = appendTime(append(b, `,"end":`...), f.WindowEnd)
	b = append(b, '}')
	b = appendEvidence(b, &f.Evidence)
	if c := f.Campaign; c != nil {
		b = append(key(b, "campaign"), '{')
		b = str(b, "id", c.ID)
		b = str(b, "state", c.State)
		b = integer(b, "attempts", c.Attempts)
		b = integer(b, "accounts", c.Accounts)
		b = integer(b, "accounts_hit", c.AccountsHit)
		b = integer(b, "addresses", c.Addresses)
		b = append(b, '}')
	}
	b = append(b, '}')
	b = str(b, "message", f.Message)
	return append(b, "}\n"...)
}

// AppendAccount appends the line of an account that a campaign touched, without
// a newline.
func AppendAccount(dst []byte, a *detect.Account) []byte {
	b := append(dst, '{')
	b = str(b, "campaign", a.Campaign)
	b = append(key(b, "user"), '{')
	b = str(b, "hash", a.UserHash)
	b = append(b, '}')
	b = strconv.AppendBool(key(b, "hit"), a.Hit)
	b = appendTime(key(b, "first"), a.First)
	b = appendTime(key(b, "last"), a.Last)
	return append(b, '}')
}

func appendEvidence(b []byte, e *detect.Evidence) []byte {
	b = append(key(b, "evidence"), '{')
	b = number(b, "statistic", e.Statistic)
	b = number(b, "baseline", e.Baseline)
	b = number(b, "threshold", e.Threshold)
	if len(e.Terms) > 0 {
		b = append(key(b, "terms"), '[')
		for i, term := range e.Terms {
			if i > 0 {
				b = append(b, ',')
			}
			b = str(append(b, '{'), "name", term.Name)
			b = number(b, "value", term.Value)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	b = list(b, "events", e.Events)
	return append(b, '}')
}

func appendSubject(b []byte, s *detect.Subject) []byte {
	b = append(key(b, "subject"), '{')
	if s.Client.IsValid() {
		b = append(key(b, "client"), `{"ip":"`...)
		b = append(appendPrefix(b, s.Client), `"}`...)
	}
	if s.Fingerprint != "" || s.Endpoint != "" || s.Session != "" {
		b = append(key(b, "offpath"), '{')
		b = str(b, "fingerprint", s.Fingerprint)
		b = str(b, "endpoint", s.Endpoint)
		b = str(b, "session", s.Session)
		b = append(b, '}')
	}
	if s.UserAgent != "" {
		b = append(str(append(key(b, "user_agent"), '{'), "original", s.UserAgent), '}')
	}
	if s.JA4 != "" {
		b = append(str(append(key(b, "tls"), `{"client":{`...), "ja4", s.JA4), "}}"...)
	}
	if s.Domain != "" {
		b = append(str(append(key(b, "url"), '{'), "domain", s.Domain), '}')
	}
	if s.UserHash != "" {
		b = append(str(append(key(b, "user"), '{'), "hash", s.UserHash), '}')
	}
	return append(b, '}')
}

func appendPrefix(b []byte, p netip.Prefix) []byte {
	if p.IsSingleIP() {
		return p.Addr().AppendTo(b)
	}
	return p.AppendTo(b)
}

// appendTime appends an instant, ns since the epoch, as RFC 3339 in UTC with
// nine digits of fraction.
func appendTime(b []byte, ns int64) []byte {
	return time.Unix(0, ns).UTC().AppendFormat(b, `"2006-01-02T15:04:05.000000000Z"`)
}

// key appends a key of an object, and a comma unless the object has just been
// opened.
func key(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// str appends a string member, unless it is not known.
func str(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return jsonl.AppendString(key(b, name), s)
}

func integer(b []byte, name string, v int) []byte {
	return strconv.AppendInt(key(b, name), int64(v), 10)
}

// number appends a number member, unless it is none that JSON knows.
func number(b []byte, name string, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return b
	}
	return strconv.AppendFloat(key(b, name), v, 'f', -1, 64)
}

// list appends a list of strings as a member, unless it is empty.
func list(b []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(key(b, name), '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsonl.AppendString(b, s)
	}
	return append(b, ']')
}
