// Package specification reads what the description of an API in OpenAPI 3 or
// Swagger 2, as YAML or JSON, says of its operations: where they are, whether
// they are deprecated, and what statuses, media types and authentication they
// have. That is what traffic can be compared with; schemas are passed over.
//
// References within the file are followed; one to another file is an error
// where an operation's place depends on it, and else leaves unknown what it
// would say. A file may have [MaxBytes]; references, aliases and their depth are
// bounded by how far the reader goes itself, which is a fixed way down from each
// operation. What is read is not changed any more and may be read by any number
// of goroutines.
package specification

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxBytes is the size of the largest file that is read.
const MaxBytes = 64 << 20

// Spec is a description.
type Spec struct {
	Title, Version string
	Operations     []Operation // in the order of the file
}

// Operation is one of a description.
type Operation struct {
	Method     string   // upper case
	Path       string   // with the base path: /v1/users/{id}
	Hosts      []string // of the servers, lower case, without port; none: any
	Deprecated bool
	Statuses   []string // such as 200, 4XX, default
	// RequestMedia and Media are of requests and responses, lower case without
	// parameters, also ranges such as image/*; none: not described.
	RequestMedia, Media []string
	// Carriers are what may carry credentials: basic, bearer, cookie, api_key, ""
	// for none; nil where that is not described.
	Carriers []string
	Line     int // in the file
	Number   int // from 1; that of one operation with several base paths is the same
}

// Count is how many operations there are.
func (s *Spec) Count() (n int) {
	for i := range s.Operations {
		n = max(n, s.Operations[i].Number)
	}
	return n
}

// Name is method and path.
func (o *Operation) Name() string { return o.Method + " " + o.Path }

// Error is a mistake in a description.
type Error struct {
	File string
	Line int // from 1
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text) }

// methods are those that a path item has.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// reader reads one description.
type reader struct {
	file    string
	root    *yaml.Node
	swagger bool
	number  int                                  // of the last operation
	schemes map[string][]string                  // carriers of the security schemes, by name
	indexes map[*yaml.Node]map[string]*yaml.Node // of large objects
}

// Parse reads a description; file names it in errors. The error is an *[Error].
func Parse(file string, text []byte) (*Spec, error) {
	root, err := parse(file, text)
	if err != nil {
		return nil, err
	}
	r := &reader{file: file, root: root, indexes: map[*yaml.Node]map[string]*yaml.Node{}}
	if root.Kind != yaml.MappingNode {
		return nil, r.wrong(root, "it is no OpenAPI description; that begins with openapi: 3.1.0, or swagger: \"2.0\"")
	}
	if err := r.version(); err != nil {
		return nil, err
	}
	s := &Spec{Title: scalar(r.get(root, "info", "title")), Version: scalar(r.get(root, "info", "version"))}
	r.readSchemes()
	paths := r.get(root, "paths")
	if paths == nil {
		return nil, r.wrong(root, "paths is missing; there is nothing to compare with")
	}
	if paths.Kind != yaml.MappingNode {
		return nil, r.wrong(paths, "paths is no object; it holds a path item for each path, such as /users/{id}")
	}
	for key, item := range members(paths) {
		if strings.HasPrefix(key.Value, "x-") {
			continue
		}
		if !strings.HasPrefix(key.Value, "/") {
			return nil, r.wrong(key, "path %q does not begin with /; write /%s", key.Value, key.Value)
		}
		list, err := r.item(key, item)
		if err != nil {
			return nil, err
		}
		s.Operations = append(s.Operations, list...)
	}
	return s, nil
}

func (r *reader) wrong(at *yaml.Node, format string, args ...any) *Error {
	return &Error{r.file, max(at.Line, 1), fmt.Sprintf(format, args...)}
}

func (r *reader) version() error {
	if v := r.get(r.root, "openapi"); v != nil {
		if !strings.HasPrefix(v.Value, "3.") {
			return r.wrong(v, "OpenAPI %q is not known; 3.0, 3.1 and 3.2 are, and Swagger 2.0", v.Value)
		}
		return nil
	}
	v := r.get(r.root, "swagger")
	if v == nil {
		return r.wrong(r.root, "neither openapi nor swagger says the version; add openapi: 3.1.0, or swagger: \"2.0\"")
	}
	if v.Value != "2.0" && v.Value != "2" {
		return r.wrong(v, "Swagger %q is not known; 2.0 is, and OpenAPI 3", v.Value)
	}
	r.swagger = true
	return nil
}

// item reads the operations of a path.
func (r *reader) item(key, item *yaml.Node) ([]Operation, error) {
	item, err := r.follow(item)
	if err != nil {
		return nil, err
	}
	if item == nil {
		return nil, r.wrong(key, "path %q is described in another file; bundle the description into one", key.Value)
	}
	if item.Kind != yaml.MappingNode {
		return nil, r.wrong(item, "path %q is no object; it holds get, post and so on", key.Value)
	}
	var list []Operation
	for name, node := range members(item) {
		method := strings.ToLower(name.Value)
		if !slices.Contains(methods, method) {
			continue
		}
		node, err := r.follow(node)
		if err != nil {
			return nil, err
		}
		if node == nil || node.Kind != yaml.MappingNode {
			return nil, r.wrong(name, "%s of path %q is no object; it describes an operation", name.Value, key.Value)
		}
		o := Operation{Method: strings.ToUpper(method), Deprecated: scalar(r.get(node, "deprecated")) == "true", Line: name.Line}
		if err := r.operation(&o, node); err != nil {
			return nil, err
		}
		r.number++
		o.Number = r.number
		for _, place := range r.places(node, item) {
			at := o
			at.Path, at.Hosts = place.base+key.Value, place.hosts
			list = append(list, at)
		}
	}
	return list, nil
}

func (r *reader) operation(o *Operation, node *yaml.Node) error {
	responses, err := r.follow(r.get(node, "responses"))
	if err != nil {
		return err
	}
	complete := true // nothing of it lies in another file
	if responses != nil && responses.Kind == yaml.MappingNode {
		for status, response := range members(responses) {
			if strings.HasPrefix(status.Value, "x-") {
				continue
			}
			o.Statuses = append(o.Statuses, strings.ToUpper(status.Value))
			if response, err = r.follow(response); err != nil {
				return err
			}
			complete = complete && response != nil
			o.Media = append(o.Media, keys(r.get(response, "content"))...)
		}
	}
	if r.swagger {
		if o.Media = r.media(node, "produces"); !r.answers(responses) {
			o.Media = nil
		}
		o.RequestMedia = r.media(node, "consumes")
	} else if body, err := r.follow(r.get(node, "requestBody")); err != nil {
		return err
	} else if body != nil {
		o.RequestMedia = keys(r.get(body, "content"))
	}
	if !complete {
		o.Media = nil
	}
	o.Media, o.RequestMedia = tidy(o.Media), tidy(o.RequestMedia)
	security := r.get(node, "security")
	if security == nil {
		security = r.get(r.root, "security")
	}
	o.Carriers = r.carriers(security)
	return nil
}

// answers reports whether a response of Swagger 2 has a body.
func (r *reader) answers(responses *yaml.Node) bool {
	for _, response := range members(responses) {
		if response, err := r.follow(response); err == nil && r.get(response, "schema") != nil {
			return true
		}
	}
	return false
}

// media is a list of media types of Swagger 2, of the operation or of all.
func (r *reader) media(node *yaml.Node, name string) []string {
	list := r.get(node, name)
	if list == nil {
		list = r.get(r.root, name)
	}
	var types []string
	for _, item := range elements(list) {
		types = append(types, item.Value)
	}
	return types
}

// tidy makes media types comparable, each once, in their order.
func tidy(types []string) []string {
	var list []string
	for _, t := range types {
		t, _, _ = strings.Cut(t, ";")
		if t = strings.ToLower(strings.TrimSpace(t)); t != "" && !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// readSchemes notes what carries the credentials of each security scheme.
func (r *reader) readSchemes() {
	schemes := r.get(r.root, "components", "securitySchemes")
	if r.swagger {
		schemes = r.get(r.root, "securityDefinitions")
	}
	r.schemes = map[string][]string{}
	for name, node := range members(schemes) {
		scheme, err := r.follow(node)
		if err != nil || scheme == nil {
			continue // not known, as one that is not there
		}
		in, of := scalar(r.get(scheme, "in")), strings.ToLower(scalar(r.get(scheme, "name")))
		switch kind := strings.ToLower(scalar(r.get(scheme, "type"))); {
		case kind == "basic", kind == "http" && strings.EqualFold(scalar(r.get(scheme, "scheme")), "basic"):
			r.schemes[name.Value] = []string{"basic"}
		case kind == "http" && strings.EqualFold(scalar(r.get(scheme, "scheme")), "bearer"), kind == "oauth2", kind == "openidconnect":
			r.schemes[name.Value] = []string{"bearer", "cookie"} // what a session at the authority is held by is the application's matter
		case kind == "apikey" && in == "cookie":
			r.schemes[name.Value] = []string{"cookie"}
		case kind == "apikey" && of == "authorization":
			r.schemes[name.Value] = []string{"bearer", "basic", "api_key"}
		case kind == "apikey":
			r.schemes[name.Value] = []string{"api_key", "bearer", "cookie"} // a field of any name may hold a session's token
		}
	}
}

// carriers are those of a list of alternatives; nil where it is not described,
// or described by a scheme that is not known.
func (r *reader) carriers(security *yaml.Node) []string {
	if security == nil || security.Kind != yaml.SequenceNode {
		return nil
	}
	if len(security.Content) == 0 {
		return []string{""}
	}
	var list []string
	for _, alternative := range elements(security) {
		names := keys(alternative)
		if len(names) == 0 {
			list = append(list, "")
		}
		for _, name := range names {
			known := r.schemes[name]
			if known == nil {
				return nil
			}
			list = append(list, known...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// place is where the paths of a server begin.
type place struct {
	base  string
	hosts []string
}

// places are those of the servers of an operation, of its path or of all, one
// for each base path.
func (r *reader) places(operation, item *yaml.Node) []place {
	if r.swagger {
		p := place{base: strings.TrimRight(scalar(r.get(r.root, "basePath")), "/")}
		if host := scalar(r.get(r.root, "host")); host != "" {
			p.hosts = []string{hostname(host)}
		}
		return []place{p}
	}
	servers := r.get(operation, "servers")
	for _, node := range []*yaml.Node{item, r.root} {
		if servers == nil || len(servers.Content) == 0 {
			servers = r.get(node, "servers")
		}
	}
	var list []place
	for _, server := range elements(servers) {
		base, host, ok := r.server(server)
		if !ok {
			continue
		}
		at := slices.IndexFunc(list, func(p place) bool { return p.base == base })
		if at < 0 {
			at = len(list)
			list = append(list, place{base: base})
		}
		if host != "" && !slices.Contains(list[at].hosts, host) {
			list[at].hosts = append(list[at].hosts, host)
		}
	}
	if list == nil {
		list = []place{{}}
	}
	return list
}

// server is the base path and the host of a server's URL, its variables being
// what they are by default.
func (r *reader) server(node *yaml.Node) (base, host string, ok bool) {
	text := scalar(r.get(node, "url"))
	for name, variable := range members(r.get(node, "variables")) {
		text = strings.ReplaceAll(text, "{"+name.Value+"}", scalar(r.get(variable, "default")))
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", "", false
	}
	return strings.TrimRight(u.Path, "/"), hostname(u.Host), true
}

func hostname(host string) string {
	u := url.URL{Host: host}
	return strings.ToLower(u.Hostname())
}
