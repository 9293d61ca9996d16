// The app imports one module.
@_exported import HydraCore
