package config

import (
	"fmt"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v3"

	"offpath/detect/policy"
)

// statements says how a list of mappings is read, each into a T.
type statements[T any] struct {
	list      string // full name of the list
	one, many string // what they are called
	first     string // how one begins
	example   string // of a list
	keys      []string
	fields    func(*T) map[string]any // by key
}

// fromText reads a list in YAML's flow style.
func (s *statements[T]) fromText(text string) ([]T, error) {
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil || node.Kind == 0 || node.Content[0].Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%q is not a list of %s; write it as %s", text, s.many, s.example)
	}
	return s.read(&loader{where: map[string]string{}}, node.Content[0])
}

func (s *statements[T]) read(l *loader, n *yaml.Node) ([]T, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, &Error{Where: l.at(n), Key: s.list,
			Text: fmt.Sprintf("%s is not a list; write each %s as an item of its own, \"- %s\"", describe(n), s.one, s.first)}
	}
	all := make([]T, len(n.Content))
	for i, item := range n.Content {
		path := s.list + "[" + strconv.Itoa(i) + "]"
		l.where[path] = l.at(item)
		if err := l.fields(item, path, s.keys, s.fields(&all[i])); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// fields reads the pairs of a mapping into the fields that their keys name.
func (l *loader) fields(n *yaml.Node, path string, keys []string, into map[string]any) error {
	return l.eachPair(n, path, func(name, value *yaml.Node) error {
		field, full := into[name.Value], path+"."+name.Value
		if field == nil {
			return &Error{Where: l.at(name), Text: fmt.Sprintf("unknown key %q; the nearest known key is %q", full, path+"."+nearest(name.Value, keys))}
		}
		l.where[full] = l.at(name)
		value = resolve(value)
		if isNull(value) {
			return nil
		}
		if rate, ok := field.(*policy.Rate); ok {
			return l.fields(value, full, policy.RateKeys, map[string]any{"requests": &rate.Requests, "per": &rate.Per})
		}
		if list, ok := field.(*[]string); ok && value.Kind == yaml.SequenceNode {
			for _, item := range value.Content {
				item = resolve(item)
				if item.Kind != yaml.ScalarNode {
					return &Error{Where: l.at(item), Key: full, Text: describe(item) + " is not a single value"}
				}
				*list = append(*list, item.Value)
			}
			return nil
		}
		if value.Kind != yaml.ScalarNode {
			return &Error{Where: l.at(value), Key: full, Text: describe(value) + " is not a single value"}
		}
		if list, ok := field.(*[]string); ok { // one of them
			*list = []string{value.Value}
			return nil
		}
		if err := setScalar(reflect.ValueOf(field).Elem(), value.Value); err != nil {
			return &Error{Where: l.at(value), Key: full, Text: err.Error()}
		}
		return nil
	})
}
