"""Our own certificate authorities: what they issue, revoke and publish. Nothing here judges a peer."""
