package sitemap

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document describes the endpoints. Those of one path and method at several
// hosts, and the operations of one, are one operation there, since the format
// has no other place for them; x-offpath-endpoints tells them apart.
//
// It is written path by path: that of a full map as a whole would take eighty
// times the memory of its text in YAML.
type document struct {
	head, tail []field                           // before and after the paths
	paths      map[string]map[string][]*Endpoint // by template, then method
}

type field struct {
	name  string
	value any
}

func (m *Map) document(c *Comparison) *document {
	d := &document{paths: map[string]map[string][]*Endpoint{}}
	others := 0
	for _, e := range m.Endpoints() {
		method := strings.ToLower(e.Method)
		if !slices.Contains(methods, method) || e.Path == "" {
			others++
			continue
		}
		path, _ := template(e.Path)
		if d.paths[path] == nil {
			d.paths[path] = map[string][]*Endpoint{}
		}
		d.paths[path][method] = append(d.paths[path][method], e)
	}
	schemes := object{}
	for _, item := range d.paths {
		for _, list := range item {
			inCommon(list).security(schemes)
		}
	}
	if len(schemes) > 0 {
		d.head = append(d.head, field{"components", object{"securitySchemes": schemes}})
	}
	d.head = append(d.head,
		field{"info", object{"title": "Endpoints seen", "version": "1", "description": "Discovered by offpath from traffic."}},
		field{"openapi", "3.1.0"})
	if c != nil {
		d.tail = append(d.tail, field{"x-offpath-comparison", c.object()})
	}
	d.tail = append(d.tail, field{"x-offpath-forgotten", m.forgotten}, field{"x-offpath-lost", m.lost}, field{"x-offpath-not-described", others})
	if m.since != 0 {
		d.tail = append(d.tail, field{"x-offpath-since", at(m.since)}, field{"x-offpath-until", at(m.until)})
	}
	return d
}

// each calls write with each path and its item, in order, until there is an error.
func (d *document) each(write func(path string, item object) error) error {
	for _, path := range slices.Sorted(maps.Keys(d.paths)) {
		item := object{}
		for method, list := range d.paths[path] {
			item[method] = operation(list)
			if _, names := template(list[0].Path); len(names) > 0 {
				item["parameters"] = parameters(names)
			}
		}
		if err := write(path, item); err != nil {
			return err
		}
	}
	return nil
}

// YAML writes the map as an OpenAPI 3.1 document, with a comparison unless that
// is nil.
func (m *Map) YAML(c *Comparison) ([]byte, error) {
	var b bytes.Buffer
	write := func(indent, name string, value any) error {
		text, err := yaml.Marshal(object{name: value})
		for line := range bytes.Lines(text) {
			if len(line) > 1 { // a text may have empty ones
				b.WriteString(indent)
			}
			b.Write(line)
		}
		return err
	}
	d := m.document(c)
	for _, f := range d.head {
		if err := write("", f.name, f.value); err != nil {
			return nil, err
		}
	}
	if len(d.paths) == 0 {
		b.WriteString("paths: {}\n")
	} else {
		b.WriteString("paths:\n")
	}
	if err := d.each(func(path string, item object) error { return write("    ", path, item) }); err != nil {
		return nil, err
	}
	for _, f := range d.tail {
		if err := write("", f.name, f.value); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// JSON writes the map as an OpenAPI 3.1 document, with a comparison unless that
// is nil.
func (m *Map) JSON(c *Comparison) ([]byte, error) {
	var b bytes.Buffer
	separator := "{"
	write := func(indent, name string, value any) error {
		b.WriteString(separator + "\n" + indent)
		separator = ","
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(value, indent, "  ")
		b.Write(key)
		b.WriteString(": ")
		b.Write(text)
		return err
	}
	d := m.document(c)
	for _, f := range d.head {
		if err := write("  ", f.name, f.value); err != nil {
			return nil, err
		}
	}
	b.WriteString(",\n  \"paths\": {")
	separator = ""
	if err := d.each(func(path string, item object) error { return write("    ", path, item) }); err != nil {
		return nil, err
	}
	b.WriteString("\n  }")
	separator = ","
	for _, f := range d.tail {
		if err := write("  ", f.name, f.value); err != nil {
			return nil, err
		}
	}
	b.WriteString("\n}\n")
	return b.Bytes(), nil
}

// JSON writes the comparison as it stands in the document of the map.
func (c *Comparison) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(c.object(), "", "  ")
	return append(text, '\n'), err
}
