# BitBake takes the network away from every task but do_fetch. Held, not believed.
no_network() {
    if [ "$(wc -l </proc/net/route)" -gt 1 ]; then
        bbfatal "do_compile has a route"
    fi
}
do_compile[prefuncs] += "no_network"
