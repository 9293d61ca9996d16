// Runs the package's own tests and those of this folder on Linux, which does not find tests by itself.

import XCTest

@testable import HydraNet

Fake.install()
XCTMain([
    testCase([
        ("testModules", asyncTest(GoldenTests.testModules)),
        ("testChain", asyncTest(GoldenTests.testChain)),
        ("testClosed", asyncTest(GoldenTests.testClosed)),
    ]),
    testCase([
        ("testShrinks", ResizeTests.testShrinks),
        ("testTurnsUprightFirst", ResizeTests.testTurnsUprightFirst),
        ("testGrows", ResizeTests.testGrows),
        ("testSameSizeIsACopy", ResizeTests.testSameSizeIsACopy),
    ]),
    testCase([
        ("testCompilesOnceAndLoadsOnce", asyncTest(EngineTests.testCompilesOnceAndLoadsOnce)),
        ("testSeparatePackages", asyncTest(EngineTests.testSeparatePackagesWhereTheJointOneIsAbsent)),
        ("testTwoCallsAtOnce", asyncTest(EngineTests.testTwoCallsAtOnceLoadOnceAndRunOneAfterTheOther)),
        ("testMissingFile", asyncTest(EngineTests.testMissingFile)),
        ("testCorruptFile", asyncTest(EngineTests.testCorruptFile)),
        ("testCompiledAnew", asyncTest(EngineTests.testACompiledPackageThatDoesNotLoadIsCompiledAnew)),
        ("testFallsBackLoading", asyncTest(EngineTests.testFallsBackToTheCPUWhenLoading)),
        ("testFallsBackRunning", asyncTest(EngineTests.testFallsBackToTheCPUWhenRunning)),
        ("testNothingRuns", asyncTest(EngineTests.testNothingRuns)),
        ("testAnotherShape", asyncTest(EngineTests.testAnotherShapeThanTheFileDeclares)),
        ("testCancelled", asyncTest(EngineTests.testCancelled)),
        ("testCloseWhileRunning", asyncTest(EngineTests.testCloseWhileRunning)),
        ("testElementsAreChecked", asyncTest(EngineTests.testElementsAreChecked)),
    ]),
    testCase([
        ("testEveryWayIn", PhotoTests.testEveryWayInGivesTheSameBytes),
        ("testOrientation", PhotoTests.testOrientationTurnsBeforeTheResize),
        ("testTransparency", PhotoTests.testTransparencyIsOverWhite),
        ("testOnePixel", PhotoTests.testOnePixel),
        ("testFiftyMegapixels", PhotoTests.testFiftyMegapixels),
        ("testBadPhotos", PhotoTests.testBadPhotos),
        ("testCoreImage", PhotoTests.testCoreImageFillsTheBuffer),
        ("testMaps", PhotoTests.testMapsBecomePictures),
    ]),
])
