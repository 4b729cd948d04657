package specification

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parse reads YAML, or JSON where it begins like that.
func parse(file string, text []byte) (*yaml.Node, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if len(text) > MaxBytes {
		return nil, &Error{file, 1, fmt.Sprintf("it has more than %d octets", MaxBytes)}
	}
	if content := bytes.TrimLeft(text, " \t\r\n"); bytes.HasPrefix(content, []byte("{")) {
		return parseJSON(file, text)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		line := 1
		message := strings.TrimPrefix(err.Error(), "yaml: ")
		if m := lineOf.FindStringSubmatch(message); m != nil {
			line, _ = strconv.Atoi(m[1])
			message = m[2]
		}
		return nil, &Error{file, line, "it is no YAML: " + message}
	}
	if len(doc.Content) == 0 {
		return nil, &Error{file, 1, "it is empty"}
	}
	return resolved(doc.Content[0]), nil
}

var lineOf = regexp.MustCompile(`^line (\d+): (.*)$`)

// maxDepth is how deep JSON may be nested.
const maxDepth = 1000

// jsonReader makes nodes of JSON, whose tabs YAML would not have.
type jsonReader struct {
	tokens *json.Decoder
	text   []byte
	at     int // octet up to which lines are counted
	line   int
}

func parseJSON(file string, text []byte) (*yaml.Node, error) {
	j := &jsonReader{tokens: json.NewDecoder(bytes.NewReader(text)), text: text, line: 1}
	j.tokens.UseNumber()
	node, err := j.value(0)
	if err == nil {
		if _, more := j.tokens.Token(); more != io.EOF {
			err = errors.New("something follows the first value")
		}
	}
	if err != nil {
		offset := j.tokens.InputOffset()
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			offset = syntax.Offset
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err, offset = errors.New("it ends in the middle"), int64(len(text))
		}
		return nil, &Error{file, 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n")), "it is no JSON: " + err.Error()}
	}
	return node, nil
}

// here is the line of the token that was last read.
func (j *jsonReader) here() int {
	end := int(j.tokens.InputOffset())
	j.line += bytes.Count(j.text[j.at:end], []byte("\n"))
	j.at = end
	return j.line
}

func (j *jsonReader) value(depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	token, err := j.tokens.Token()
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Line: j.here()}
	switch t := token.(type) {
	case json.Delim:
		node.Kind = yaml.SequenceNode
		if t == '{' {
			node.Kind = yaml.MappingNode
		}
		for j.tokens.More() {
			for range map[yaml.Kind]int{yaml.MappingNode: 2, yaml.SequenceNode: 1}[node.Kind] {
				child, err := j.value(depth + 1)
				if err != nil {
					return nil, err
				}
				node.Content = append(node.Content, child)
			}
		}
		if _, err := j.tokens.Token(); err != nil {
			return nil, err
		}
	case string:
		node.Value = t
	case nil:
		node.Tag = "!!null"
	default:
		node.Value = fmt.Sprint(t)
	}
	return node, nil
}

// resolved is the node that an alias stands for.
func resolved(node *yaml.Node) *yaml.Node {
	for node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// members are the keys and values of an object; of anything else none.
func members(node *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		if node = resolved(node); node == nil || node.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if !yield(resolved(node.Content[i]), resolved(node.Content[i+1])) {
				return
			}
		}
	}
}

// elements are those of a list; of anything else none.
func elements(node *yaml.Node) []*yaml.Node {
	if node = resolved(node); node == nil || node.Kind != yaml.SequenceNode {
		return nil
	}
	list := make([]*yaml.Node, len(node.Content))
	for i, item := range node.Content {
		list[i] = resolved(item)
	}
	return list
}

func keys(node *yaml.Node) []string {
	var list []string
	for key := range members(node) {
		list = append(list, key.Value)
	}
	return list
}

func scalar(node *yaml.Node) string {
	if node == nil || node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
		return ""
	}
	return node.Value
}

// get finds what lies under names, one within the other; nil if it is not there.
func (r *reader) get(node *yaml.Node, names ...string) *yaml.Node {
	for _, name := range names {
		if node = r.member(resolved(node), name); node == nil {
			return nil
		}
	}
	return node
}

// large is how many members an object must have to be indexed.
const large = 64

func (r *reader) member(node *yaml.Node, name string) *yaml.Node {
	if node == nil || len(node.Content) < 2*large {
		for key, value := range members(node) {
			if key.Value == name {
				return value
			}
		}
		return nil
	}
	if r.indexes[node] == nil {
		index := map[string]*yaml.Node{}
		for key, value := range members(node) {
			if index[key.Value] == nil {
				index[key.Value] = value
			}
		}
		r.indexes[node] = index
	}
	return r.indexes[node][name]
}

// maxReferences is how many references may lead to one another.
const maxReferences = 16

// follow finds what a reference stands for, nil if that is in another file; of
// anything else the node itself.
func (r *reader) follow(node *yaml.Node) (*yaml.Node, error) {
	node = resolved(node)
	for range maxReferences {
		ref := r.get(node, "$ref")
		if ref == nil || ref.Kind != yaml.ScalarNode {
			return node, nil
		}
		pointer, local := strings.CutPrefix(ref.Value, "#/")
		if !local {
			return nil, nil
		}
		at := r.root
		for part := range strings.SplitSeq(pointer, "/") {
			part = strings.ReplaceAll(strings.ReplaceAll(decoded(part), "~1", "/"), "~0", "~") // RFC 6901 section 4
			if at = r.child(at, part); at == nil {
				return nil, r.wrong(ref, "$ref %q leads nowhere", ref.Value)
			}
		}
		node = at
	}
	return nil, r.wrong(node, "references lead to one another, more than %d", maxReferences)
}

// child is a member of an object or an element of a list.
func (r *reader) child(node *yaml.Node, name string) *yaml.Node {
	if list := elements(node); list != nil {
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(list) {
			return list[i]
		}
		return nil
	}
	return r.get(node, name)
}

// decoded undoes the percent-encoding of a reference's fragment, as far as there
// is one.
func decoded(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}
