"""One resource being filled into one store by threads. The only folder that knows both `store` and `wire`."""
