package config

import (
	"net/netip"
	"reflect"
	"strings"
	"time"

	"offpath/detect/override"
	"offpath/detect/policy"
)

// setting is one leaf of a Config: its full name and the field that holds it.
type setting struct {
	section, key string
	doc          string
	field        reflect.Value
}

func (s setting) path() string { return s.section + "." + s.key }

// variable is the name of the environment variable that overrides the setting.
func (s setting) variable() string {
	return envPrefix + strings.ToUpper(s.section+"_"+s.key)
}

// settings lists every setting of c in the order of the declaration.
func settings(c *Config) []setting {
	var list []setting
	root := reflect.ValueOf(c).Elem()
	for i := range root.NumField() {
		section := root.Type().Field(i).Tag.Get("key")
		if section == "" {
			continue
		}
		group := root.Field(i)
		for j := range group.NumField() {
			field := group.Type().Field(j)
			list = append(list, setting{section, field.Tag.Get("key"), field.Tag.Get("doc"), group.Field(j)})
		}
	}
	return list
}

// The types that a setting may have; a test walks the schema against them.
var (
	typeDuration  = reflect.TypeFor[time.Duration]()
	typeStrings   = reflect.TypeFor[[]string]()
	typePrefixes  = reflect.TypeFor[[]netip.Prefix]()
	typeTargets   = reflect.TypeFor[[]Target]()
	typePolicies  = reflect.TypeFor[[]policy.Statement]()
	typeOverrides = reflect.TypeFor[[]override.Statement]()
	typeSecret    = reflect.TypeFor[Secret]()
)

// Changed lists the settings in which a and b differ, by full name.
func Changed(a, b *Config) []string {
	var names []string
	other := settings(b)
	for i, s := range settings(a) {
		if !reflect.DeepEqual(s.field.Interface(), other[i].field.Interface()) {
			names = append(names, s.path())
		}
	}
	return names
}
