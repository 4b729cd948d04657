package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// envPrefix begins the name of every environment variable that is a setting.
const envPrefix = "OFFPATH_"

// Error is a mistake in a configuration, in one line.
type Error struct {
	Where string // "FILE:LINE", "FILE", or the name of an environment variable
	Key   string // full name of the setting; "" where the mistake is in none
	Text  string // what is wrong and how to mend it
}

func (e *Error) Error() string {
	if e.Key == "" {
		return e.Where + ": " + e.Text
	}
	return e.Where + ": " + e.Key + ": " + e.Text
}

// Load reads the file at path over the defaults and the environment (a list
// of NAME=VALUE as of os.Environ) over both, and checks the whole. An empty
// path means [DefaultPath], which may be absent. Every error is an *Error.
func Load(path string, environ []string) (*Config, error) {
	explicit := path != ""
	if !explicit {
		path = DefaultPath
	}
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		return parse(path, text, environ)
	case errors.Is(err, fs.ErrNotExist) && !explicit:
		return parse("", nil, environ)
	}
	var reason *fs.PathError
	if errors.As(err, &reason) {
		err = reason.Err
	}
	return nil, &Error{Where: path, Text: fmt.Sprintf("read configuration: %v", err)}
}

// loader remembers where each setting was given, for the checks that follow.
type loader struct {
	config *Config
	file   string
	where  map[string]string // by full name of the setting
}

func parse(path string, text []byte, environ []string) (*Config, error) {
	l := &loader{config: Default(), file: path, where: map[string]string{}}
	l.config.Path = path
	if err := l.readFile(text); err != nil {
		return nil, err
	}
	if err := l.readEnvironment(environ); err != nil {
		return nil, err
	}
	if err := l.validate(); err != nil {
		return nil, err
	}
	return l.config, nil
}

// readEnvironment applies the variables that are settings. Variables that
// begin alike and are none get a warning only: container platforms make such
// names by themselves.
func (l *loader) readEnvironment(environ []string) error {
	known := map[string]setting{}
	var names []string
	for _, s := range settings(l.config) {
		known[s.variable()] = s
		names = append(names, s.variable())
	}
	given := slices.Sorted(slices.Values(environ))
	for _, entry := range given {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		s, ok := known[name]
		if !ok {
			l.config.Warnings = append(l.config.Warnings,
				fmt.Sprintf("environment variable %s is no setting; the nearest is %s", name, nearest(name, names)))
			continue
		}
		if err := setFromText(s.field, value); err != nil {
			var mistake *Error
			if errors.As(err, &mistake) {
				return &Error{Where: name, Key: mistake.Key, Text: mistake.Text}
			}
			return &Error{Where: name, Key: s.path(), Text: err.Error()}
		}
		l.where[s.path()] = name
	}
	return nil
}

// mistake is an error about a setting, at the place where it was given.
func (l *loader) mistake(path, format string, args ...any) error {
	where := l.where[path]
	if where == "" {
		where = l.file
	}
	if where == "" {
		where = "configuration"
	}
	return &Error{Where: where, Key: path, Text: fmt.Sprintf(format, args...)}
}
