from ralu_stage.main import main

main()
