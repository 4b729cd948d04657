package dataplanetest

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Period is how often files follow their maps by themselves: update-map-files-period.
const Period = 10 * time.Second

// Options of an API.
type Options struct {
	Socket         string // of HAProxy's Runtime API: a path
	MapsDir        string
	Version        int // 2 or 3
	User, Password string
	// Versionless says that it could not ask HAProxy for its version when it started: it
	// appends the first command of every list.
	Versionless bool
}

// API is a Data Plane API in front of one HAProxy.
type API struct {
	options Options
	handler http.Handler

	socketMu sync.Mutex // held for a command
	fileMu   sync.Mutex // held while a file is written
}

// New makes one, whose files follow until the test ends.
func New(t testing.TB, o Options) *API {
	a := &API{options: o}
	a.handler = a.routes()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(Period)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				a.followAll()
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() { close(done); <-ended })
	return a
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	if user != a.options.User || password != a.options.Password {
		refuse(w, http.StatusUnauthorized, "unauthorized")
		return
	}
	a.handler.ServeHTTP(w, r)
}

func (a *API) routes() http.Handler {
	mux := http.NewServeMux()
	base := "/v" + strconv.Itoa(a.options.Version) + "/services/haproxy/runtime/"
	handle := func(method, path string, f func(w http.ResponseWriter, r *http.Request, name string)) {
		mux.HandleFunc(method+" "+base+path, func(w http.ResponseWriter, r *http.Request) {
			name := r.PathValue("name")
			for _, parameter := range []string{"map", "stick_table"} {
				if a.options.Version == 2 && name == "" {
					name = r.URL.Query().Get(parameter)
				}
			}
			for _, word := range []string{name, r.PathValue("id")} {
				if strings.Contains(path, "{") && word != "" && !allowed.MatchString(word) {
					refuse(w, http.StatusUnprocessableEntity, "parameter should match '"+allowed.String()+"'")
					return
				}
			}
			if r.ContentLength != 0 && r.Method != http.MethodGet && r.Header.Get("Content-Type") != "application/json" {
				refuse(w, http.StatusUnsupportedMediaType, "unsupported media type")
				return
			}
			f(w, r, name)
		})
	}
	entriesPath, rowsPath := "maps/{name}/entries", "stick_tables/{name}/entries"
	if a.options.Version == 2 {
		entriesPath, rowsPath = "maps_entries", "stick_table_entries"
	}
	handle("GET", "info", a.getInfo)
	handle("GET", "maps", a.getMaps)
	handle("PUT", "maps/{name}", a.putMap)
	handle("DELETE", "maps/{name}", a.deleteMap)
	handle("GET", entriesPath, a.getEntries)
	handle("POST", entriesPath, a.postEntry)
	handle("GET", entriesPath+"/{id}", a.getEntry)
	handle("PUT", entriesPath+"/{id}", a.putEntry)
	handle("DELETE", entriesPath+"/{id}", a.deleteEntry)
	handle("GET", "stick_tables", a.getTables)
	handle("GET", rowsPath, a.getRows)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "path "+r.URL.Path+" was not found")
	})
	return mux
}

// allowed is the specification's pattern of names and ids.
var allowed = regexp.MustCompile(`^[^\r\n<>*;$#&{}"]+$`)

func answer(w http.ResponseWriter, status int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object) // to a client that has gone
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"code": status, "message": message})
}

// fail answers an error of what concerns maps.
func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, errNotFound):
		status = http.StatusNotFound
	case errors.Is(err, errExists):
		status = http.StatusConflict
	case errors.Is(err, errGeneral):
		status = http.StatusBadRequest
	}
	refuse(w, status, err.Error())
}

// synced has the file of a map follow if the request asks for it.
func (a *API) synced(r *http.Request, name string) error {
	if r.URL.Query().Get("force_sync") != "true" {
		return nil
	}
	m, err := a.oneMap(name)
	if err != nil {
		return err
	}
	return a.follow(m)
}

func (a *API) getInfo(w http.ResponseWriter, _ *http.Request, _ string) {
	if a.options.Version == 2 {
		answer(w, http.StatusOK, []processInfo{a.process()})
		return
	}
	answer(w, http.StatusOK, a.process())
}

func (a *API) getMaps(w http.ResponseWriter, r *http.Request, _ string) {
	all, err := a.maps()
	if err != nil {
		fail(w, err)
		return
	}
	list := []mapFile{}
	for _, m := range all {
		managed := strings.HasPrefix(filepath.Dir(m.File), a.options.MapsDir)
		if managed {
			m.StorageName = filepath.Base(m.File)
		}
		if managed || r.URL.Query().Get("include_unmanaged") == "true" {
			list = append(list, m)
		}
	}
	answer(w, http.StatusOK, list)
}

func (a *API) putMap(w http.ResponseWriter, r *http.Request, name string) {
	var list []Entry
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	err := a.payload(a.path(name), list)
	if err == nil {
		err = a.synced(r, name)
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusCreated, list)
}

func (a *API) deleteMap(w http.ResponseWriter, r *http.Request, name string) {
	err := a.clear(a.path(name))
	if err == nil {
		err = a.synced(r, name)
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) getEntries(w http.ResponseWriter, _ *http.Request, name string) {
	list, err := a.entries(a.path(name))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, list)
}

func (a *API) postEntry(w http.ResponseWriter, r *http.Request, name string) {
	var e Entry
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	err := a.add(a.path(name), e)
	if err == nil {
		err = a.synced(r, name)
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusCreated, e)
}

func (a *API) getEntry(w http.ResponseWriter, r *http.Request, name string) {
	e, err := a.one(a.path(name), r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, e)
}

func (a *API) putEntry(w http.ResponseWriter, r *http.Request, name string) {
	var data struct{ Value *string }
	if err := json.NewDecoder(r.Body).Decode(&data); err != nil || data.Value == nil {
		refuse(w, http.StatusUnprocessableEntity, "value in body is required")
		return
	}
	file, id := a.path(name), r.PathValue("id")
	if err := a.set(file, id, *data.Value); err != nil {
		fail(w, err)
		return
	}
	e, err := a.one(file, id)
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err := a.synced(r, name); err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, e)
}

func (a *API) deleteEntry(w http.ResponseWriter, r *http.Request, name string) {
	err := a.del(a.path(name), r.PathValue("id"))
	if err == nil {
		err = a.synced(r, name)
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) getTables(w http.ResponseWriter, _ *http.Request, _ string) {
	list, err := a.tables()
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, list)
}

func (a *API) getRows(w http.ResponseWriter, r *http.Request, name string) {
	query := r.URL.Query()
	if a.options.Version == 2 && query.Get("process") == "" {
		refuse(w, http.StatusUnprocessableEntity, "process in query is required")
		return
	}
	list, err := a.rows(name, query.Get("filter"))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, list)
}
