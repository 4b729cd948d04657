package service

import (
	"slices"
	"strings"

	"offpath/cmd/offpath/internal/config"
)

// live are the settings that a running service can change.
var live = []string{"client.allow", "mitigate.mode", "log.level", "detect.as_database", "detect.country_database", "detect.specification", "detect.overrides", "detect.policies"}

// reload reads the configuration again and applies what can be changed while
// running. A bad one changes nothing.
func (p *process) reload() {
	fresh, err := p.options.Load()
	if err != nil {
		p.log.Error().Err(err).Msg("configuration not read again; the old one stays in force")
		return
	}
	old := p.settings.Load()
	var applied, pending []string
	for _, name := range config.Changed(old, fresh) {
		if slices.Contains(live, name) {
			applied = append(applied, name)
		} else {
			pending = append(pending, name)
		}
	}
	next := *old
	next.Client.Allow = fresh.Client.Allow
	next.Mitigate.Mode = fresh.Mitigate.Mode
	next.Log.Level = fresh.Log.Level
	next.Detect.ASDatabase, next.Detect.CountryDB = fresh.Detect.ASDatabase, fresh.Detect.CountryDB
	next.Detect.Specification = fresh.Detect.Specification
	next.Detect.Overrides, next.Detect.Policies = fresh.Detect.Overrides, fresh.Detect.Policies
	p.settings.Store(&next)
	p.log.SetLevel(next.Log.Level)
	for _, part := range p.parts {
		part.reload(&next)
	}
	event := p.log.Info().Strs("applied", applied)
	if len(pending) > 0 {
		p.log.Warn().Strs("settings", pending).Msg("changed settings need a restart: " + strings.Join(pending, ", "))
	}
	event.Msg("configuration read again")
}
