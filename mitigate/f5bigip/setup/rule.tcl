# {{.Mark}}
when HTTP_REQUEST priority 100 {
    # Only what is set here may reach the server.
    for { set offpath_i [HTTP::header count X-Offpath-Verdict] } { $offpath_i > 0 } { incr offpath_i -1 } {
        HTTP::header remove X-Offpath-Verdict
    }
    set offpath_do ""
    set offpath_id ""
    # An error here would end the connection: so it lets the request pass.
    if { [catch {
        # Without a mode, and with anything in offpath_off, all is off.
        set offpath_mode [class match -value mode equals /{{.Partition}}/offpath_mode]
        if { [class size /{{.Partition}}/offpath_off] > 0 } { set offpath_mode off }
        if { $offpath_mode eq "enforce" || $offpath_mode eq "monitor" } {
            # An address in another route domain is written ADDRESS%DOMAIN.
            set offpath_client [lindex [split [IP::client_addr] %] 0]
{{- if .TrustedProxies}}
            if { [class match $offpath_client equals /{{.Partition}}/offpath_proxies] } {
                # From the right past trusted proxies. What is no address names nobody.
                set offpath_names [split [join [HTTP::header values X-Forwarded-For] ,] ,]
                set offpath_hops 0
                for { set offpath_i [expr {[llength $offpath_names] - 1}] } { $offpath_i >= 0 } { incr offpath_i -1 } {
                    set offpath_name [string trim [lindex $offpath_names $offpath_i]]
                    if { $offpath_name eq "" } { continue }
                    regexp {^\[([0-9A-Fa-f:.]+)\](:[0-9]+)?$} $offpath_name offpath_x offpath_name
                    regexp {^([0-9]+[.][0-9]+[.][0-9]+[.][0-9]+):[0-9]+$} $offpath_name offpath_x offpath_name
                    regexp -nocase {^::ffff:([0-9]+[.][0-9]+[.][0-9]+[.][0-9]+)$} $offpath_name offpath_x offpath_name
                    if { [regexp -nocase {^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$} $offpath_name offpath_x offpath_a offpath_b] } {
                        scan "$offpath_a $offpath_b" "%x %x" offpath_a offpath_b
                        set offpath_name "[expr {$offpath_a >> 8}].[expr {$offpath_a & 255}].[expr {$offpath_b >> 8}].[expr {$offpath_b & 255}]"
                    }
                    if { [incr offpath_hops] > 32
                        || ![regexp {^([0-9]+[.][0-9]+[.][0-9]+[.][0-9]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$} $offpath_name]
                        || [catch { class match $offpath_name equals /{{.Partition}}/offpath_proxies } offpath_trusted] } {
                        set offpath_client ""
                        break
                    }
                    set offpath_client $offpath_name
                    if { !$offpath_trusted } { break }
                }
            }
{{- end}}
            if { $offpath_client ne ""
                && ![class match $offpath_client equals /{{.Partition}}/offpath_allow]
                && ![class match $offpath_client equals /{{.Partition}}/offpath_allow_own] } {
                set offpath_now [clock seconds]
                # The address's verdict before the network's; one that only watches hides none.
                foreach offpath_record [list \
                    [class match -value $offpath_client equals /{{.Partition}}/offpath_addresses] \
                    [class match -value $offpath_client equals /{{.Partition}}/offpath_networks]] {
                    set offpath_fields [split $offpath_record :]
                    if { [llength $offpath_fields] != 4
                        || ![regexp {^[0-9]+$} [lindex $offpath_fields 2]]
                        || [lindex $offpath_fields 2] <= $offpath_now } { continue }
                    if { [lindex $offpath_fields 0] eq "e" } {
                        set offpath_id [lindex $offpath_fields 3]
                        set offpath_do [lindex $offpath_fields 1]
                        break
                    }
                    if { $offpath_id eq "" } {
                        set offpath_id [lindex $offpath_fields 3]
                        set offpath_do tag
                    }
                }
                if { $offpath_mode eq "monitor" && $offpath_do ne "" } { set offpath_do tag }
                if { [scan $offpath_do {%dper%d} offpath_n offpath_per] == 2 } {
                    # A window begins with its first request, and ends by itself.
                    set offpath_do tag
                    set offpath_key "$offpath_id $offpath_per $offpath_client"
                    table add -subtable offpath $offpath_key 0 indefinite $offpath_per
                    set offpath_i [table incr -notouch -subtable offpath -mustexist $offpath_key]
                    if { $offpath_i ne "" && $offpath_i > $offpath_n } { set offpath_do limit }
                }
            }
        }
    } offpath_error] } {
        log local0.err "offpath: $offpath_error"
        set offpath_do ""
    }
    if { $offpath_do eq "block" } {
        HTTP::respond 403 content "Forbidden\n" noserver X-Offpath-Refused $offpath_id Cache-Control no-store Connection close
    } elseif { $offpath_do eq "limit" } {
        HTTP::respond 429 content "Too Many Requests\n" noserver X-Offpath-Refused $offpath_id Retry-After $offpath_per Cache-Control no-store Connection close
    } elseif { $offpath_do eq "tag" } {
        HTTP::header insert X-Offpath-Verdict $offpath_id
    }
}
when HTTP_RESPONSE priority 100 {
    # The marker of a refusal is the load balancer's alone.
    for { set offpath_i [HTTP::header count X-Offpath-Refused] } { $offpath_i > 0 } { incr offpath_i -1 } {
        HTTP::header remove X-Offpath-Refused
    }
}
