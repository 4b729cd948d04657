# Runs an iRule: reads orders from stdin, one a line, words in hex, and answers so.
fconfigure stdin -translation binary
fconfigure stdout -translation binary -buffering line
proc say {args} { set l {}; foreach w $args { lappend l x[binary encode hex $w] }; puts $l; flush stdout }
proc hear {} {
    if {[gets stdin line] < 0} { exit }
    set l {}
    foreach w $line { lappend l [binary decode hex [string range $w 1 end]] }
    return $l
}
proc ask {args} {
    say ask {*}$args
    set a [hear]
    if {[lindex $a 0] eq "error"} { error [lindex $a 1] }
    return [lindex $a 1]
}
interp create -safe rule
# iRules have none of these.
foreach c {lassign dict apply lreverse lrepeat lmap try throw tailcall coroutine yield yieldto chan after vwait update fileevent interp package} {
    catch { rule hide $c }
}
set headers {}
set answer {}
set bodies {}
proc when {event args} {
    global bodies
    dict set bodies $event [lindex $args end]
}
proc client {} { global peer; return $peer }
proc header {op args} {
    global headers
    set name [lindex $args 0]
    switch $op {
        count - values - remove {
            set found {}; set values {}
            for {set i 0} {$i < [llength $headers]} {incr i 2} {
                if {[string equal -nocase [lindex $headers $i] $name]} { lappend found $i; lappend values [lindex $headers $i+1] }
            }
            if {$op eq "count"} { return [llength $found] }
            if {$op eq "values"} { return $values }
            # Of several one is removed: an iRule that is right for this is right for all.
            if {[llength $found]} { set i [lindex $found end]; set headers [lreplace $headers $i $i+1] }
        }
        insert { lappend headers $name [lindex $args 1] }
        default { error "no HTTP::header $op here" }
    }
    return
}
proc respond {status args} {
    global answer
    if {$answer ne ""} { error "it has responded" }
    set content ""
    if {[lindex $args 0] eq "content"} { set content [lindex $args 1]; set args [lrange $args 2 end] }
    if {[lindex $args 0] eq "noserver"} { set args [lrange $args 1 end] }
    if {[llength $args] % 2} { error "a header without a value" }
    set answer [list $status $content {*}$args]
}
foreach n {IP HTTP} { rule eval [list namespace eval $n {}] }
interp alias rule when {} when
interp alias rule IP::client_addr {} client
interp alias rule HTTP::header {} header
interp alias rule HTTP::respond {} respond
interp alias rule class {} ask class
interp alias rule table {} ask table
interp alias rule log {} ask log
rule eval [lindex [hear] 0]
say ready
# All requests share the variables, as those of one connection do.
while 1 {
    set order [hear]
    set headers [lassign $order event peer]
    set answer {}
    if {[catch { rule eval [dict get $bodies $event] } error]} {
        say error $error
    } elseif {$answer ne ""} {
        say respond {*}$answer
    } else {
        say forward {*}$headers
    }
}
