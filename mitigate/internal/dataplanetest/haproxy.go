package dataplanetest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Errors by which the API chooses a status.
var (
	errNotFound = errors.New("not found")
	errExists   = errors.New("already exists")
	errGeneral  = errors.New("general error")
)

// wait is how long the API waits for HAProxy.
const wait = 30 * time.Second

// command sends one command to HAProxy, one at a time.
func (a *API) command(text string) (string, error) {
	if strings.Contains(text, ";") {
		return "", errors.New("invalid character found in runtime command")
	}
	a.socketMu.Lock()
	defer a.socketMu.Unlock()
	conn, err := net.DialTimeout("unix", a.options.Socket, wait)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "set severity-output number;"+text+"\n"); err != nil {
		return "", err
	}
	answer, _ := io.ReadAll(conn) // whatever ends it
	said := strings.TrimSpace(string(answer))
	if len(said) > 4 && said[0] == '[' && said[1] <= '3' && said[2:4] == "]:" {
		first, _, _ := strings.Cut(text, "\n")
		return "", fmt.Errorf("%s [%s]", said, first)
	}
	return said, nil
}

// failing is an error of HAProxy as one of the API's kinds.
func failing(err, kind error) error { return fmt.Errorf("%w: %w", err, kind) }

type mapFile struct {
	ID          string `json:"id,omitempty"`
	File        string `json:"file,omitempty"`
	Description string `json:"description,omitempty"`
	StorageName string `json:"storage_name,omitempty"`
}

func (a *API) maps() (list []mapFile, err error) {
	answer, err := a.command("show map")
	if err != nil {
		return nil, failing(err, errNotFound)
	}
	for text := range strings.Lines(answer) {
		words := strings.Fields(text)
		if len(words) >= 3 && words[0] != "#" {
			list = append(list, mapFile{ID: words[0], File: strings.Trim(words[1], "()"), Description: strings.Join(words[2:], " ")})
		}
	}
	return list, nil
}

var unusual = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)

// path is the file of the map with a name.
func (a *API) path(name string) string {
	name = unusual.ReplaceAllString(strings.TrimSuffix(name, ".map"), "_")
	return filepath.Join(a.options.MapsDir, name+".map")
}

func (a *API) oneMap(name string) (mapFile, error) {
	list, err := a.maps()
	if err != nil {
		return mapFile{}, err
	}
	i := slices.IndexFunc(list, func(m mapFile) bool { return m.File == a.path(name) })
	if i < 0 {
		return mapFile{}, fmt.Errorf("%s %w", name, errNotFound)
	}
	return list[i], nil
}

// Entry is a line of a map; of its value the API keeps the first word.
type Entry struct {
	ID    string `json:"id,omitempty"`
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
}

// entries lists a map by its file or #ID.
func (a *API) entries(file string) ([]Entry, error) {
	answer, err := a.command("show map " + file)
	if err != nil {
		return nil, failing(err, errNotFound)
	}
	list := []Entry{}
	for text := range strings.Lines(answer) {
		if words := strings.Fields(text); len(words) >= 3 {
			list = append(list, Entry{words[0], words[1], words[2]})
		}
	}
	return list, nil
}

// one looks up an entry: HAProxy answers what matches, the API takes what is the very key.
// A network of IPv6 matches nothing (2.6), since it is no address.
func (a *API) one(file, key string) (Entry, error) {
	answer, err := a.command("get map " + file + " " + key)
	if err != nil {
		return Entry{}, failing(err, errNotFound)
	}
	var e Entry
	for part := range strings.SplitSeq(answer, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch strings.TrimSpace(name) {
		case "key":
			e.Key = strings.Trim(value, `"`)
		case "value":
			e.Value = strings.Trim(value, `"`)
		}
	}
	if e.Key != key || e.Value == "" {
		return Entry{}, fmt.Errorf("%s %w", key, errNotFound)
	}
	return e, nil
}

func (a *API) add(file string, e Entry) error {
	if _, err := a.one(file, e.Key); err == nil {
		return errExists
	}
	if _, err := a.command("add map " + file + " " + e.Key + " " + e.Value); err != nil {
		return failing(err, errGeneral)
	}
	return nil
}

func (a *API) set(file, key, value string) error {
	if _, err := a.command("set map " + file + " " + key + " " + value); err != nil {
		return failing(err, errNotFound)
	}
	return nil
}

func (a *API) del(file, key string) error {
	if _, err := a.command("del map " + file + " " + key); err != nil {
		return failing(err, errNotFound)
	}
	return nil
}

func (a *API) clear(file string) error {
	if _, err := a.command("clear map " + file); err != nil {
		return failing(err, errNotFound)
	}
	return nil
}

// commandSize is where the API begins a new command, octets.
const commandSize = 8192

// Commands cuts entries into the payloads of commands, and says whether they were too long
// for one. It does so as the API does: an entry that makes a payload too long is kept for
// the next one, and lost if there is none; a payload that is filled to the octet is sent,
// and what it was before its last entry is sent again if nothing follows.
func Commands(list []Entry) (tooLong bool, payloads []string) {
	var kept, building, complete string
	for _, e := range list {
		text := e.Key + " " + e.Value + "\n"
		building += kept + text
		kept = ""
		if len(building) < commandSize {
			complete = building
			continue
		}
		if len(building) == commandSize {
			payloads = append(payloads, building)
		} else {
			tooLong = true
			payloads = append(payloads, complete)
			kept, complete = text, ""
		}
		building = ""
	}
	if complete != "" {
		payloads = append(payloads, complete)
	}
	return tooLong, payloads
}

// payload writes a whole map: by a new version of it if it is too long for one command.
func (a *API) payload(file string, list []Entry) error {
	tooLong, payloads := Commands(list)
	if !tooLong || a.options.Versionless {
		if len(payloads) == 0 {
			return fmt.Errorf("no entries: %w", errGeneral) // the API panics here
		}
		if _, err := a.command("add map " + file + " <<\n" + payloads[0] + "\n"); err != nil {
			return failing(err, errGeneral)
		}
		return nil
	}
	answer, err := a.command("prepare map " + file)
	if err != nil {
		return failing(err, errGeneral)
	}
	version := strings.TrimSpace(answer[strings.LastIndexByte(answer, ':')+1:])
	for _, p := range payloads {
		if _, err := a.command("add map @" + version + " " + file + " <<\n" + p + "\n"); err != nil {
			return failing(err, errGeneral)
		}
	}
	if _, err := a.command("commit map @" + version + " " + file); err != nil {
		return failing(err, errGeneral)
	}
	return nil
}

// follow writes the file of a map if HAProxy holds something else.
func (a *API) follow(m mapFile) error {
	a.fileMu.Lock()
	defer a.fileMu.Unlock()
	text, err := os.ReadFile(m.File)
	if err != nil {
		return err
	}
	var inFile []Entry
	for text := range strings.Lines(string(text)) {
		if words := strings.Fields(text); len(words) >= 2 && text[0] != '#' {
			inFile = append(inFile, Entry{Key: words[0], Value: words[1]})
		}
	}
	now, err := a.entries("#" + m.ID)
	if err != nil {
		return err
	}
	for i := range now {
		now[i].ID = ""
	}
	byKey := func(a, b Entry) int { return strings.Compare(a.Key, b.Key) }
	slices.SortFunc(inFile, byKey)
	slices.SortFunc(now, byKey)
	if slices.Equal(inFile, now) {
		return nil
	}
	var b strings.Builder
	for _, e := range now {
		b.WriteString(e.Key + " " + e.Value + "\n")
	}
	return os.WriteFile(m.File, []byte(b.String()), 0o600)
}

// followAll is what the ticker does.
func (a *API) followAll() {
	list, err := a.maps()
	if err != nil {
		return
	}
	for _, m := range list {
		_ = a.follow(m) // the API logs it
	}
}

type processInfo struct {
	Error      string `json:"error,omitempty"`
	Info       *info  `json:"info,omitempty"`
	RuntimeAPI string `json:"runtimeAPI,omitempty"`
}

type info struct {
	Pid     int64  `json:"pid"`
	Uptime  int64  `json:"uptime"`
	Version string `json:"version"`
}

// process describes HAProxy; that it can't be reached is no failure of the request.
func (a *API) process() processInfo {
	answer, err := a.command("show info")
	if err != nil {
		return processInfo{Error: err.Error(), RuntimeAPI: a.options.Socket}
	}
	of := make(map[string]string)
	for text := range strings.Lines(answer) {
		name, value, _ := strings.Cut(text, ":")
		of[name] = strings.TrimSpace(value)
	}
	pid, _ := strconv.ParseInt(of["Pid"], 10, 64)
	uptime, _ := strconv.ParseInt(of["Uptime_sec"], 10, 64)
	return processInfo{Info: &info{pid, uptime, of["Version"]}, RuntimeAPI: a.options.Socket}
}

type table struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func (a *API) tables() ([]table, error) {
	answer, err := a.command("show table")
	if err != nil {
		return nil, err
	}
	list := []table{}
	for text := range strings.Lines(answer) {
		if rest, ok := strings.CutPrefix(text, "# table: "); ok {
			parts := strings.Split(rest, ", ")
			list = append(list, table{parts[0], strings.TrimPrefix(parts[1], "type: ")})
		}
	}
	return list, nil
}

type row struct {
	ID    string `json:"id"`
	Key   string `json:"key"`
	Count int64  `json:"http_req_cnt,omitempty"`
	Rate  int64  `json:"http_req_rate,omitempty"`
}

// rows lists a stick table; filter is what the API puts "data." before.
func (a *API) rows(name, filter string) ([]row, error) {
	text := "show table " + name
	if filter != "" {
		text += " data." + filter
	}
	answer, err := a.command(text)
	if err != nil {
		return nil, err
	}
	list := []row{}
	for text := range strings.Lines(answer) {
		id, rest, ok := strings.Cut(text, ":")
		if !ok || text[0] == '#' {
			continue
		}
		r := row{ID: id}
		for _, word := range strings.Fields(rest) {
			name, value, _ := strings.Cut(word, "=")
			switch {
			case name == "key":
				r.Key = value
			case name == "http_req_cnt":
				r.Count, _ = strconv.ParseInt(value, 10, 64)
			case strings.HasPrefix(name, "http_req_rate("):
				r.Rate, _ = strconv.ParseInt(value, 10, 64)
			}
		}
		list = append(list, r)
	}
	return list, nil
}
