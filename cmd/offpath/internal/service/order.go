package service

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"offpath/cmd/offpath/internal/api"
	"offpath/cmd/offpath/internal/config"
	"offpath/detect"
)

// verdictOf makes a verdict of an operator's order. Whether a load balancer
// can carry it, and the rails allow it, is for mitigation to say.
func verdictOf(o api.Order, now time.Time) (detect.Verdict, error) {
	v := detect.Verdict{Time: now.UnixNano(), Action: detect.Action(o.Action), Message: o.Reason}
	switch v.Action {
	case detect.ActionBlock, detect.ActionRateLimit, detect.ActionTag:
	default:
		return v, fmt.Errorf("action %q is none of block, rate_limit, tag", o.Action)
	}
	if o.Reason == "" {
		return v, errors.New("reason is missing; write why, for those who read the audit")
	}
	ttl, err := time.ParseDuration(o.TTL)
	if err != nil || ttl < time.Second || ttl > time.Duration(detect.MaxLifetime) {
		return v, fmt.Errorf("ttl %q is not a duration from 1s to 24h", o.TTL)
	}
	v.Expires = now.Add(ttl).UnixNano()
	if v.Subject, err = subjectOf(o.Subject); err != nil {
		return v, err
	}
	return v, setRate(&v, o.Rate)
}

func setRate(v *detect.Verdict, r *api.Rate) error {
	if v.Action != detect.ActionRateLimit {
		if r != nil {
			return fmt.Errorf("rate goes with rate_limit, not with %s", v.Action)
		}
		return nil
	}
	if r == nil || r.Requests < 1 {
		return errors.New(`rate_limit needs a rate, such as {"requests": 10, "per": "60s"}`)
	}
	per, err := time.ParseDuration(r.Per)
	if err != nil || per < time.Second || per%time.Second != 0 {
		return fmt.Errorf("rate per %q is not a duration of whole seconds", r.Per)
	}
	v.Rate = detect.Rate{Requests: r.Requests, Per: int64(per)}
	return nil
}

func subjectOf(members map[string]string) (detect.Subject, error) {
	var s detect.Subject
	if len(members) == 0 {
		return s, errors.New(`subject is empty; name at least one member, such as {"client.ip": "192.0.2.7"}`)
	}
	fields := map[string]*string{
		"offpath.fingerprint": &s.Fingerprint, "user_agent.original": &s.UserAgent, "tls.client.ja4": &s.JA4,
		"offpath.endpoint": &s.Endpoint, "url.domain": &s.Domain, "offpath.session": &s.Session,
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := members[name]
		if value == "" {
			return s, fmt.Errorf("subject %s is empty", name)
		}
		if name == "client.ip" {
			var err error
			if s.Client, err = config.ParseNetwork(value); err != nil {
				return s, fmt.Errorf("subject client.ip: %w", err)
			}
			continue
		}
		field, ok := fields[name]
		if !ok {
			return s, fmt.Errorf("subject has no member %q; there are client.ip, %s", name, listed(fields))
		}
		*field = value
	}
	return s, nil
}

func listed(fields map[string]*string) string {
	text := ""
	for i, name := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	return text
}
