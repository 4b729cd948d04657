package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// yamlPlace is how the YAML reader names the line of a syntax error.
var yamlPlace = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// readFile applies a YAML document of sections of settings.
func (l *loader) readFile(text []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil // empty, or comments alone
	case err != nil:
		return l.syntaxError(err)
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return &Error{Where: l.at(second.Content[0]), Text: "a second document begins here; a configuration is one"}
	case !errors.Is(err, io.EOF):
		return l.syntaxError(err)
	}

	bySection := map[string]map[string]setting{}
	var sections, paths []string
	for _, s := range settings(l.config) {
		if bySection[s.section] == nil {
			bySection[s.section] = map[string]setting{}
			sections = append(sections, s.section)
		}
		bySection[s.section][s.key] = s
		paths = append(paths, s.path())
	}

	return l.eachPair(document.Content[0], "", func(name, value *yaml.Node) error {
		keys, ok := bySection[name.Value]
		if !ok {
			return &Error{Where: l.at(name), Text: fmt.Sprintf("unknown key %q; the nearest known key is %q",
				name.Value, nearestKey("", name.Value, slices.Concat(sections, paths)))}
		}
		section := name.Value
		return l.eachPair(value, section, func(name, value *yaml.Node) error {
			s, ok := keys[name.Value]
			if !ok {
				return &Error{Where: l.at(name), Text: fmt.Sprintf("unknown key %q; the nearest known key is %q",
					section+"."+name.Value, nearestKey(section, name.Value, paths))}
			}
			l.where[s.path()] = l.at(name)
			return l.setFromNode(s, value)
		})
	})
}

func (l *loader) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", l.file, n.Line) }

func (l *loader) syntaxError(err error) error {
	place := yamlPlace.FindStringSubmatch(err.Error())
	switch {
	case place == nil:
		return &Error{Where: l.file, Text: "no valid YAML: " + err.Error()}
	case place[1] == "":
		return &Error{Where: l.file, Text: "no valid YAML: " + place[2]}
	}
	return &Error{Where: l.file + ":" + place[1], Text: "no valid YAML: " + place[2]}
}

// eachPair calls do for the pairs of a mapping; path names the mapping, ""
// for the document. A mapping that is left empty has no pairs.
func (l *loader) eachPair(n *yaml.Node, path string, do func(name, value *yaml.Node) error) error {
	n = resolve(n)
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return &Error{Where: l.at(n), Key: path, Text: fmt.Sprintf("%s is not a section; write keys below it, each as \"key: value\"", describe(n))}
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if line, ok := seen[name.Value]; ok {
			full := name.Value
			if path != "" {
				full = path + "." + full
			}
			return &Error{Where: l.at(name), Text: fmt.Sprintf("key %q stands already on line %d; remove one of them", full, line)}
		}
		seen[name.Value] = name.Line
		if err := do(name, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// setFromNode sets a field from a node; a node without a value leaves the
// default.
func (l *loader) setFromNode(s setting, n *yaml.Node) error {
	n = resolve(n)
	if isNull(n) {
		return nil
	}
	fail := func(at *yaml.Node, err error) error {
		return &Error{Where: l.at(at), Key: s.path(), Text: err.Error()}
	}
	switch s.field.Type() {
	case typeTargets:
		list, err := targets.read(l, n)
		if err != nil {
			return err
		}
		setList(s.field, reflect.ValueOf(list))
		return nil
	case typeOverrides:
		list, err := overrides.read(l, n)
		if err != nil {
			return err
		}
		setList(s.field, reflect.ValueOf(list))
		return nil
	case typePolicies:
		list, err := policies.read(l, n)
		if err != nil {
			return err
		}
		setList(s.field, reflect.ValueOf(list))
		return nil
	case typeStrings, typePrefixes:
		if n.Kind != yaml.SequenceNode {
			return fail(n, fmt.Errorf("%s is not a list; write it as [%s]", describe(n), n.Value))
		}
		list := reflect.MakeSlice(s.field.Type(), len(n.Content), len(n.Content))
		for i, item := range n.Content {
			item = resolve(item)
			if item.Kind != yaml.ScalarNode {
				return fail(item, fmt.Errorf("%s is not a single value", describe(item)))
			}
			if err := setScalar(list.Index(i), item.Value); err != nil {
				return fail(item, err)
			}
		}
		setList(s.field, list)
		return nil
	}
	if n.Kind != yaml.ScalarNode {
		return fail(n, fmt.Errorf("%s is not a single value", describe(n)))
	}
	if err := setScalar(s.field, n.Value); err != nil {
		return fail(n, err)
	}
	return nil
}

// resolve follows aliases; the YAML reader has refused those that go round.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// describe names a node in an error.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	}
	return strconv.Quote(n.Value)
}
